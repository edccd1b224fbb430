/** An event as programs outside see it. */

export type StoredEvent = Readonly<{
  seq: number
  at: Date
  type: string
  actorId: string | null
  data: Readonly<Record<string, unknown>>
}>

export type PublicEvent = Readonly<{
  runId: string
  /** Of the run, from 1 on without a gap. */
  seq: number
  /** ISO 8601, UTC. */
  at: string
  type: string
  /** Who did it; null when nobody did. */
  actorId: string | null
  /** Names in camelCase, at every depth. */
  data: Readonly<Record<string, unknown>>
}>

/** The event of `runId` as it is told outside. */
export function publicEvent(runId: string, { seq, at, type, actorId, data }: StoredEvent): PublicEvent {
  return { runId, seq, at: at.toISOString(), type, actorId, data: camelNames(data) as PublicEvent['data'] }
}

/** `value` with the names of all objects in it in camelCase: `spent_micros` becomes `spentMicros`. */
export function camelNames(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(camelNames)
  if (value === null || typeof value !== 'object') return value
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [camel(name), camelNames(inner)]))
}

function camel(name: string): string {
  return name.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase())
}
