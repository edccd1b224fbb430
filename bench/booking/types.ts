/** What is compared in bench/engine.ts: the engine and its peers, each with ways to run it. */

/** One measured run, as the processes that work on it are told. */
export type Job = Readonly<{
  url: string
  runId: string
  orgId: string
  accountId: string
  workerId: string
  setting: Setting
}>

/** A way to run a side: its own names for what can be set, and how many processes work. */
export type Setting = Readonly<{ processes: number }> & Readonly<Record<string, number>>

export type Side = Readonly<{
  name: string
  /** Ways to run it that are tried; the best is measured. The first is what its documentation proposes. */
  settings: readonly Setting[]
  /** How many jobs are not done yet; null when there are none but the products themselves. */
  leftSql: string | null
  /** Puts one job for each product where the workers look for them; not measured. Null when there are no jobs. */
  enqueue: ((job: Job, itemIds: readonly string[]) => Promise<void>) | null
  /** Begins to work. Resolves to what ends it. */
  start: (job: Job) => Promise<() => Promise<void>>
}>

/** The value of `name` in a setting. */
export function settingOf(setting: Setting, name: string): number {
  const value = setting[name]
  if (value === undefined) throw new Error(`the setting has no ${name}`)
  return value
}
