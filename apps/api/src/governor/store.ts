/** The governor's row: read and written under its lock, so that what workers see adds up. */
import type { Queryable, Tx } from '../db/client.ts'
import { type GovernorState, nextState, type Sign } from './next-state.ts'

const MS = (column: string): string => `extract(epoch from ${column})::double precision * 1000`

const SELECT_STATE = `
  select window_calls as "windowCalls", steep_below as "steepBelow", ${MS('cut_at')} as "cutAtMs",
    latency_ms as "latencyMs", latency_floor_ms as "latencyFloorMs", ${MS('rest_until')} as "restUntilMs",
    throttles_in_row as "throttlesInRow", ${MS('quota_until')} as "quotaUntilMs", health, recent,
    stops_in_row as "stopsInRow", ${MS('stopped_at')} as "stoppedAtMs", ${MS('probe_at')} as "probeAtMs", trouble,
    ${MS('trouble_at')} as "troubleAtMs", ${MS('clock_timestamp()')} as "nowMs"
  from provider_governors where account_id = $1`

/** The governor of an account as it stands, with the database's clock in ms, or null when there is no such account. */
export async function readGovernor(
  db: Queryable,
  accountId: string,
): Promise<(GovernorState & { nowMs: number }) | null> {
  const { rows } = await db.query<GovernorState & { nowMs: number }>(SELECT_STATE, [accountId])
  return rows[0] ?? null
}

/**
 * Lets the governor follow what calls said of their provider. Returns the state before and after, or null when the account
 * is gone. Its row stays locked until the transaction ends.
 */
export async function noteSigns(
  tx: Tx,
  accountId: string,
  signs: readonly Sign[],
  random: number,
): Promise<Readonly<{ before: GovernorState; after: GovernorState }> | null> {
  const { rows } = await tx.query<GovernorState & { nowMs: number }>({
    name: 'governor.lock',
    text: `${SELECT_STATE} for no key update`,
    values: [accountId],
  })
  const [row] = rows
  if (!row) return null
  const { nowMs, ...before } = row
  const after = nextState(before, signs, nowMs, random)
  await tx.query({
    name: 'governor.write',
    text: `
      update provider_governors g set
        window_calls = least(s.window_calls, a.max_in_flight), steep_below = s.steep_below,
        cut_at = to_timestamp(s.cut_at / 1000), latency_ms = s.latency_ms, latency_floor_ms = s.latency_floor_ms,
        rest_until = to_timestamp(s.rest_until / 1000), throttles_in_row = s.throttles_in_row,
        quota_until = to_timestamp(s.quota_until / 1000), health = s.health, recent = s.recent,
        stops_in_row = s.stops_in_row, stopped_at = to_timestamp(s.stopped_at / 1000),
        probe_at = to_timestamp(s.probe_at / 1000), trouble = s.trouble, trouble_at = to_timestamp(s.trouble_at / 1000),
        updated_at = clock_timestamp()
      from provider_accounts a, json_to_record($2) as s(window_calls real, steep_below real, cut_at double precision,
        latency_ms real, latency_floor_ms real, rest_until double precision, throttles_in_row int,
        quota_until double precision, health text, recent text, stops_in_row int, stopped_at double precision,
        probe_at double precision, trouble text, trouble_at double precision)
      where g.account_id = $1 and a.id = $1`,
    values: [accountId, JSON.stringify(toRow(after))],
  })
  return { before, after }
}

function toRow(state: GovernorState): Record<string, unknown> {
  return {
    window_calls: state.windowCalls,
    steep_below: state.steepBelow,
    cut_at: state.cutAtMs,
    latency_ms: state.latencyMs,
    latency_floor_ms: state.latencyFloorMs,
    rest_until: state.restUntilMs,
    throttles_in_row: state.throttlesInRow,
    quota_until: state.quotaUntilMs,
    health: state.health,
    recent: state.recent,
    stops_in_row: state.stopsInRow,
    stopped_at: state.stoppedAtMs,
    probe_at: state.probeAtMs,
    trouble: state.trouble,
    trouble_at: state.troubleAtMs,
  }
}

/** The moment one more call may be sent, ms by the database's clock; null when the account has no rate. For a call that missed its own. */
export async function takeSlot(db: Queryable, accountId: string): Promise<number | null> {
  const { rows } = await db.query<{ firstMs: number | null }>({
    name: 'governor.slot',
    text: 'select first_ms as "firstMs" from gleaner_take_room($1, 1, true)',
    values: [accountId],
  })
  return rows[0]?.firstMs ?? null
}

/** How long a probe may take before another worker tries, as an interval. */
const PROBE_LEASE = `interval '30 seconds'`

/** True for a governor `g` that is stopped, due to be probed, and waited for by a run. */
const PROBE_DUE = `g.health = 'stopped' and g.probe_at <= now() and exists (
  select from collection_runs r where r.status in ('running', 'paused')
    and (r.search_account_id = g.account_id or r.list_account_id = g.account_id))`

/** SQL: true when some account is to be probed. */
export const SOME_PROBE_DUE = `exists (select from provider_governors g where ${PROBE_DUE})`

/**
 * Takes the probe of one of these accounts that is stopped, due, and waited for by a run; nobody else in the fleet takes it
 * for half a minute. Returns the account's id, or null when none is due.
 */
export async function takeDueProbe(db: Queryable, accountIds: readonly string[]): Promise<string | null> {
  const { rows } = await db.query<{ accountId: string }>(
    `update provider_governors set probe_at = now() + ${PROBE_LEASE}
     where account_id = (
       select g.account_id from provider_governors g where g.account_id = any ($1) and ${PROBE_DUE}
       order by g.probe_at limit 1 for update skip locked)
     returning account_id as "accountId"`,
    [accountIds],
  )
  return rows[0]?.accountId ?? null
}

/** A probe succeeded: one call at a time from now on, until a few were answered. */
export async function beginTesting(tx: Tx, accountId: string, note: string): Promise<void> {
  await tx.query(
    `update provider_governors set health = 'testing', recent = '', window_calls = 1, rest_until = 'epoch',
       probe_note = $2, updated_at = now() where account_id = $1 and health = 'stopped'`,
    [accountId, note],
  )
}

/** A probe failed: the account stays stopped, and is probed again after `waitMs`. */
export async function postponeProbe(tx: Tx, accountId: string, note: string, waitMs: number): Promise<void> {
  await tx.query(
    `update provider_governors set probe_at = now() + $3 * interval '1 ms', probe_note = $2, stops_in_row = stops_in_row + 1,
       updated_at = now() where account_id = $1 and health = 'stopped'`,
    [accountId, note, waitMs],
  )
}

export type AccountState = Readonly<{
  accountId: string
  /** What the account is like now; quota and rest go before healthy, since nothing is sent then. */
  state: 'healthy' | 'testing' | 'stopped' | 'quota' | 'rest'
  /** When the state may end; of stopped: when the next probe comes. */
  until: Date | null
  trouble: string | null
  troubleAt: Date | null
  windowCalls: number
  inFlight: number
  /** Calls claimed in the present quota day. */
  dayCalls: number
}>

/** How each account may be called now. */
export async function accountStates(db: Queryable): Promise<AccountState[]> {
  const { rows } = await db.query<AccountState>(
    `select g.account_id as "accountId",
       case when g.health = 'stopped' then 'stopped'
         when greatest(g.quota_until, d.until) > now() then 'quota'
         when g.rest_until > now() then 'rest' else g.health end as state,
       case when g.health = 'stopped' then g.probe_at
         when greatest(g.quota_until, d.until) > now() then greatest(g.quota_until, d.until)
         when g.rest_until > now() then g.rest_until end as until,
       g.trouble, g.trouble_at as "troubleAt", floor(g.window_calls)::int as "windowCalls",
       (select count(*)::int from collection_calls c where c.account_id = g.account_id and c.state = 'held') as "inFlight",
       case when g.day_ends_at > now() then g.day_calls else 0 end as "dayCalls"
     from provider_governors g join provider_accounts a on a.id = g.account_id
     cross join lateral (select case when g.day_ends_at > now() and g.day_calls >= a.calls_per_day then g.day_ends_at
       else 'epoch' end as until) d`,
  )
  return rows
}
