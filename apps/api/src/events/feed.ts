/**
 * The events of an organisation in one order: that of their commits. Positions have no gap, and who sees one sees all
 * before it (migration 058), so reading on from the last position seen misses nothing and repeats nothing.
 */
import type { Queryable } from '../db/client.ts'
import { type PublicEvent, publicEvent, type StoredEvent } from './public-event.ts'

/** One position of an organisation. */
export type FeedEntry = Readonly<{
  orgId: string
  position: number
  runId: string
  /** Null when it went with its run. */
  event: PublicEvent | null
}>

/** Whose events are wanted, from after which position. */
export type FeedPlace = Readonly<{ orgId: string; after: number }>

/** What stands after each of `places`, in order, at most `limit` positions of each. One statement, however many places. */
export async function readFeed(db: Queryable, places: readonly FeedPlace[], limit: number): Promise<FeedEntry[]> {
  type Row = { orgId: string; position: number; runId: string } & (StoredEvent | { [K in keyof StoredEvent]: null })
  const { rows } = await db.query<Row>({
    name: 'events.feed',
    text: `
      select w.org_id as "orgId", f.position, f.run_id as "runId", e.seq, e.at, e.type, e.actor_id as "actorId", e.data
      from unnest($1::uuid[], $2::bigint[]) as w(org_id, after)
      cross join lateral (
        select position, run_id, seq from collection_feed
        where org_id = w.org_id and position > w.after order by position limit $3
      ) f
      left join collection_events e on e.run_id = f.run_id and e.seq = f.seq
      order by w.org_id, f.position`,
    values: [places.map(({ orgId }) => orgId), places.map(({ after }) => after), limit],
  })
  return rows.map(({ orgId, position, runId, ...stored }) => ({
    orgId,
    position,
    runId,
    event: stored.seq === null ? null : publicEvent(runId, stored),
  }))
}

/** The last position of the organisation; 0 when nothing happened in it yet. */
export async function lastPosition(db: Queryable, orgId: string): Promise<number> {
  const { rows } = await db.query<{ position: number }>(
    'select last_position as position from collection_positions where org_id = $1',
    [orgId],
  )
  return rows[0]?.position ?? 0
}

export type RunPage = Readonly<{
  events: readonly PublicEvent[]
  /** The last position of the organisation when they were read: what comes to the run later stands after it. */
  position: number
}>

/**
 * The events of a run after number `after`, at most `limit`, and the organisation's last position at the same moment: of
 * one snapshot, so an event that is not among them (and would have had room) has a higher position.
 */
export async function readRunPage(
  db: Queryable,
  run: Readonly<{ orgId: string; runId: string }>,
  after: number,
  limit: number,
): Promise<RunPage> {
  type Row = { position: number } & (StoredEvent | { [K in keyof StoredEvent]: null })
  const { rows } = await db.query<Row>({
    name: 'events.run_page',
    text: `
      select coalesce((select last_position from collection_positions where org_id = $1), 0) as position, e.*
      from (values (1)) one
      left join lateral (
        select seq, at, type, actor_id as "actorId", data from collection_events
        where run_id = $2 and seq > $3 order by seq limit $4
      ) e on true
      order by e.seq`,
    values: [run.orgId, run.runId, after, limit],
  })
  const events = rows.flatMap((row) => (row.seq === null ? [] : [publicEvent(run.runId, row)]))
  return { events, position: rows[0]?.position ?? 0 }
}
