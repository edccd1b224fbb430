/** When a claimed call may still leave, by the clocks and by the heart of its worker. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { type Moment, momentNow } from '../../src/base/moment.ts'
import { consequenceOfFailure } from '../../src/engine/consequences.ts'
import { LEASE_MARGIN_MS, makeHeart, maySendUntil, tooLate } from '../../src/engine/may-send.ts'
import { makeObserver } from '../../src/engine/observe.ts'
import { STOOD_STILL, TOO_LATE } from '../../src/providers/types.ts'
import {
  type Arena,
  CHARGED,
  expectClean,
  failed,
  found,
  makeArena,
  PRICE,
  searchWith,
  UNKNOWN,
  work,
} from './arena.ts'
import { until } from './worker-process.ts'

const realNow = Date.now
afterEach(() => {
  Date.now = realNow
})

/** What a machine finds that slept so long: the steady clock has not moved. */
function sleepOf(ms: number): void {
  const before = Date.now
  Date.now = () => before() + ms
}

const ago = (ms: number): Moment => {
  const { steadyMs, wallMs } = momentNow()
  return { steadyMs: steadyMs - ms, wallMs: wallMs - ms }
}

describe('a claimed call', () => {
  it('may leave as long as its own time limit ends before its lease', () => {
    expect(maySendUntil(momentNow(), undefined)()).toBe(true)
    expect(maySendUntil(ago(LEASE_MARGIN_MS - 6_000), undefined)()).toBe(true)
    expect(maySendUntil(ago(LEASE_MARGIN_MS - 5_000), undefined)()).toBe(false)
  })

  it('may not leave after its machine slept, whatever the steady clock says', () => {
    const maySend = maySendUntil(momentNow(), undefined)
    sleepOf(LEASE_MARGIN_MS)
    expect(maySend()).toBe(false)
  })

  it('may still leave when the wall clock was set back', () => {
    const maySend = maySendUntil(momentNow(), undefined)
    sleepOf(-3_600_000)
    expect(maySend()).toBe(true)
  })

  it('that may not is surely not charged, uses up no attempt, and goes back to the queue', () => {
    expect(tooLate()).toMatchObject({ code: TOO_LATE, charge: { kind: 'not_charged' } })
    expect(consequenceOfFailure(tooLate(), 3, 0)).toMatchObject({
      money: { state: 'released', chargeMicros: null },
      outcome: 'unsent',
      item: { kind: 'retry', counts: false },
    })
  })
})

describe('the heart of a worker', () => {
  it('holds its calls from a beat that got through until it is silent for too long', () => {
    const heart = makeHeart(6_000)
    expect(heart.heldSince(momentNow())).toBe(false)
    heart.beaten(ago(5_000))
    const claimed = momentNow()
    expect(heart.heldSince(claimed)).toBe(true)
    // Claimed before it was known that others see this worker live.
    expect(heart.heldSince(ago(5_500))).toBe(false)
    sleepOf(1_500)
    expect(heart.heldSince(claimed)).toBe(false)
  })

  it('that was silent for too long holds nothing of before, once it beats again', () => {
    const heart = makeHeart(6_000)
    heart.beaten(ago(7_000))
    const before = ago(6_500)
    heart.beaten(momentNow())
    expect(heart.heldSince(before)).toBe(false)
    expect(heart.heldSince(momentNow())).toBe(true)
  })

  it('whose beat took too long to get through holds nothing of before either', () => {
    const heart = makeHeart(6_000)
    heart.beaten(ago(7_000))
    const claimed = ago(6_900)
    // Asked for 5 s after the one before; nobody knows when in the 7 s it was written.
    heart.beaten(ago(2_000))
    expect(heart.heldSince(claimed)).toBe(false)
  })

  it('that beats in time holds what it held', () => {
    const heart = makeHeart(6_000)
    heart.beaten(ago(5_000))
    const claimed = ago(4_900)
    heart.beaten(ago(1_000))
    expect(heart.heldSince(claimed)).toBe(true)
  })
})

describe('in a run', () => {
  let arena: Arena
  beforeAll(async () => {
    arena = await makeArena()
  })
  afterAll(() => arena.close())

  it('calls whose claim was under way while the machine slept are not sent: the time counts from before it', async () => {
    const run = await arena.makeRun({ products: 3 })
    const sent: string[] = []
    // The claim waits for the row of its run; meanwhile the machine sleeps longer than a call may wait.
    const lock = await arena.fresh.db.pool.connect()
    await lock.query('begin')
    await lock.query('select from collection_runs where id = $1 for no key update', [run.id])
    const search = searchWith((_, { callId }) => {
      sent.push(callId)
      return found(['anna', 'bert', 'carl'])
    })
    const ending = work(arena, { run, search })
    await until(
      arena.fresh.db,
      `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
    )
    sleepOf(LEASE_MARGIN_MS)
    await lock.query('commit')
    lock.release()
    expect(await ending).toMatchObject({ status: 'completed', foundItems: 3, spentMicros: 3 * PRICE, suspectMicros: 0 })
    const unsent = await arena.rows<{ id: string }>(
      `select id from collection_calls where run_id = $1 and state = 'released' and outcome = 'unsent'`,
      [run.id],
    )
    expect(unsent).toHaveLength(3)
    expect(sent).toHaveLength(3)
    expect(sent.filter((id) => unsent.some((call) => call.id === id))).toEqual([])
    await expectClean(arena.db, { runIds: [run.id] })
  })

  it('what a worker missed while it stood still is not told to the governor', async () => {
    const read = async () =>
      (
        await arena.rows<{ recent: string }>('select recent from provider_governors where account_id = $1', [
          arena.search.id,
        ])
      )[0]
    await arena.db.query(`update provider_governors set recent = '' where account_id = $1`, [arena.search.id])
    const observer = makeObserver(arena.db, arena.search.id, () => {})
    for (let at = 0; at < 10; at++) observer.note(failed('unreachable', CHARGED, { code: STOOD_STILL }), 15_000)
    for (let at = 0; at < 10; at++) observer.note(tooLate(), 0)
    await observer.flush()
    expect(await read()).toEqual({ recent: '' })
    observer.note(failed('lost', UNKNOWN), 30_000)
    await observer.flush()
    expect(await read()).toEqual({ recent: 'x' })
  })
})
