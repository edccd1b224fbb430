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

/** A page of the events of a run, in order or (`back`) in the opposite one, beside number `seq`; of those types only when given. */
export async function eventPage(
  db: Queryable,
  runId: string,
  query: Readonly<{ types?: readonly string[]; seq: number; back: boolean; limit: number }>,
): Promise<RunEvent[]> {
  const { rows } = await db.query<RunEvent>(
    `select seq, at, type, actor_id as "actorId", data from collection_events
     where run_id = $1 and ($2::text[] is null or type = any($2)) and ${query.back ? 'seq < $3' : 'seq > $3'}
     order by seq ${query.back ? 'desc' : 'asc'} limit $4`,
    [runId, query.types ?? null, query.seq, query.limit + 1],
  )
  return rows
}
