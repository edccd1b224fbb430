import type { Queryable } from '../db/client.ts'

export type RunEvent = Readonly<{
  seq: number
  at: Date
  type: string
  actorId: string | null
  data: Readonly<Record<string, unknown>>
}>

/** The events of a run after number `after`, in order, at most `limit`. */
export async function readEvents(db: Queryable, runId: string, after: number, limit: number): Promise<RunEvent[]> {
  const { rows } = await db.query<RunEvent>(
    `select seq, at, type, actor_id as "actorId", data from collection_events
     where run_id = $1 and seq > $2 order by seq limit $3`,
    [runId, after, limit],
  )
  return rows
}
