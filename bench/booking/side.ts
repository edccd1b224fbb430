/**
 * A process that works for one side of bench/engine.ts: enqueues, or works until it is told to stop. Each side has
 * processes of its own, so that none runs in a heap or among timers another left behind.
 */
import { dbos } from './dbos.ts'
import { engine } from './engine.ts'
import { graphile } from './graphile.ts'
import { pgBoss } from './pg-boss.ts'
import type { Job, Side } from './types.ts'

const SIDES: Readonly<Record<string, Side>> = Object.fromEntries(
  [engine, graphile, pgBoss, dbos].map((s) => [s.name, s]),
)

/** What the process is told first. */
export type Order = Readonly<{ side: string; job: Job; enqueue: readonly string[] | null }>
/** What it says when it has ended. */
export type Ended = Readonly<{ cpuSeconds: number; rssMb: number }>

process.once('message', (order: Order) => {
  void carryOut(order).catch((error: unknown) => {
    console.error(error)
    process.exit(1)
  })
})
// Without its parent there is nobody to work for.
process.once('disconnect', () => process.exit(1))

async function carryOut({ side: name, job, enqueue }: Order): Promise<void> {
  const side = SIDES[name]
  if (!side) throw new Error(`no side ${name}`)
  if (enqueue) await side.enqueue?.(job, enqueue)
  else {
    const stop = await side.start(job)
    await new Promise((resolve) => process.once('message', resolve))
    const { user, system } = process.cpuUsage()
    const ended: Ended = { cpuSeconds: (user + system) / 1e6, rssMb: process.resourceUsage().maxRSS / 1024 }
    await stop()
    process.send?.(ended)
  }
  process.removeAllListeners('disconnect')
  process.disconnect()
}
