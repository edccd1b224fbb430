/** Notifications: written with their event, sent by workers to a real receiver, at least once, and never in the way. */
import { createHmac } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { toMicros } from '../../src/base/money.ts'
import { makeWake } from '../../src/base/wake.ts'
import { withTx } from '../../src/db/client.ts'
import { changeHook, checkNotifyUrl } from '../../src/engine/change-hook.ts'
import { closeBooking } from '../../src/engine/close-booking.ts'
import { notifyLoop } from '../../src/engine/notify.ts'
import { changeCap, failRun, pauseRun } from '../../src/engine/run-acts.ts'
import {
  ATTEMPTS_MOST,
  bookDelivered,
  bookMissed,
  hookOf,
  listNotifications,
  retryFailed,
  takeNotifications,
} from '../../src/events/outbox.ts'
import type { RunSnapshot } from '../../src/runs/snapshot.ts'
import { type Arena, expectClean, found, PRICE, searchWith, work } from './arena.ts'
import { book, claim, finished } from './by-hand.ts'
import { useArena } from './use-arena.ts'
import { startWorkerProcess, until } from './worker-process.ts'

const arena = useArena()

type Got = Readonly<{ headers: IncomingMessage['headers']; raw: string; body: Record<string, unknown> }>
type Answer = (response: ServerResponse, nth: number) => void

type Receiver = Readonly<{
  url: string
  got: Got[]
  /** Resolves when so many requests have come. */
  received: (count: number) => Promise<void>
  answerWith: (answer: Answer) => void
  close: () => Promise<void>
}>

async function openReceiver(): Promise<Receiver> {
  const got: Got[] = []
  const wake = makeWake()
  let answer: Answer = (response) => response.writeHead(204).end()
  const server = createServer((request, response) => {
    let raw = ''
    request.on('data', (chunk: Buffer) => (raw += chunk.toString()))
    request.on('end', () => {
      got.push({ headers: request.headers, raw, body: JSON.parse(raw) as Record<string, unknown> })
      wake.notify()
      answer(response, got.length)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/told`,
    got,
    received: async (count) => {
      while (got.length < count) await wake.wait(1_000)
    },
    answerWith: (next) => {
      answer = next
    },
    close: async () => {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

let receiver: Receiver
let orgId: string
let secret: string
beforeEach(async () => {
  receiver = await openReceiver()
  const [org] = await arena.rows<{ id: string }>(`insert into orgs (name) values ('Org') returning id`)
  orgId = org?.id ?? ''
  secret = (await changeHook(arena.db, orgId, { url: receiver.url })) ?? ''
})
let stops: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const stop of stops) await stop()
  stops = []
  await receiver.close()
  await changeHook(arena.db, orgId, { url: null })
})

/** A worker's loop, quick to try again. */
function startLoop(more: Readonly<{ timeoutMs?: number; backoffMs?: number }> = {}): () => Promise<void> {
  const stopping = new AbortController()
  const loop = notifyLoop(
    { db: arena.db, log: () => {}, timeoutMs: 2_000, backoffMs: 20, lookMs: 50, ...more },
    stopping.signal,
  )
  const stop = async (): Promise<void> => {
    stopping.abort()
    await loop
  }
  stops.push(stop)
  return stop
}

const makeRun = (input: Parameters<Arena['makeRun']>[0] = {}) => arena.makeRun({ products: 10, ...input, orgId })
const told = () => listNotifications(arena.db, orgId, { limit: 100 })
const types = async () => (await told()).map(({ type }) => type).sort()
const answers = searchWith(() => found(['anna']))

/** Resolves when every notification of the organisation is in `state`. */
function all(state: string): Promise<void> {
  return until(
    arena.db,
    `select where not exists (select from collection_notifications where org_id = $1 and state <> $2)`,
    [orgId, state],
  )
}

/** A run with one notification: it has failed. */
async function failedRun(): Promise<RunSnapshot> {
  return failRun(arena.db, (await makeRun()).id, 'Nothing was answered.')
}

describe('the outbox', () => {
  it('holds what is of interest, written with its event, and nothing without an address', async () => {
    const run = await makeRun({ cap: 6 * PRICE, soft: 50 })
    await work(arena, { run, search: answers })
    expect(await types()).toEqual(['run.paused', 'run.soft_warning'])
    const other = await makeRun()
    await pauseRun(arena.db, other.id, { reason: 'operator' })
    await failedRun()
    await work(arena, { run: await makeRun({ products: 1, soft: 100 }), search: answers })
    expect(await types()).toEqual(['run.completed', 'run.failed', 'run.paused', 'run.soft_warning'])

    const undone = withTx(arena.db, async (tx) => {
      await tx.query(
        `insert into collection_events (run_id, seq, type) select id, event_seq + 1, 'run.failed' from collection_runs where id = $1`,
        [other.id],
      )
      throw new Error('rolled back')
    })
    await expect(undone).rejects.toThrow('rolled back')
    expect(await types()).toHaveLength(4)

    await changeHook(arena.db, orgId, { url: null })
    await failedRun()
    expect(await told()).toHaveLength(4)
    expect((await told()).map(({ state, errorMessage }) => [state, errorMessage])).toEqual(
      Array.from({ length: 4 }, () => ['failed', 'The address was switched off.']),
    )
  })

  it('is written by the database alone, and its secret read by workers alone', async () => {
    await failedRun()
    const worker = arena.db
    for (const statement of [
      `insert into collection_notifications (run_id, seq, org_id, type, facts) select run_id, 1, org_id, 'x', '{}' from collection_notifications`,
      `update collection_notifications set facts = '{}'`,
      'delete from collection_notifications',
      `update collection_hooks set org_id = gen_random_uuid()`,
    ]) {
      await expect(worker.query(statement), statement).rejects.toMatchObject({ code: '42501' })
    }
    const asMember = (sql: string) =>
      withTx(arena.fresh.db, async (tx) => {
        await tx.query('set local role authenticated')
        return (await tx.query(sql)).rows
      })
    await expect(asMember('select secret from collection_hooks')).rejects.toMatchObject({ code: '42501' })
    expect(await asMember('select from collection_notifications')).toEqual([])
  })
})

describe('the soft warning', () => {
  const warnings = async (run: RunSnapshot) =>
    (
      await arena.rows<{ count: number }>(
        `select count(*)::int as count from collection_events where run_id = $1 and type = 'run.soft_warning'`,
        [run.id],
      )
    )[0]?.count

  it('is given once, whatever books at the same time, and again after the cap is raised', async () => {
    const run = await makeRun({ products: 40, cap: 40 * PRICE, soft: 50 })
    const worker = await arena.makeWorker()
    const first = await claim(arena, run, worker, 32)
    await Promise.all(first.map((call) => book(arena, run, finished(call, found([])))))
    expect(await warnings(run)).toBe(1)
    expect(await types()).toEqual(['run.soft_warning'])

    await changeCap(arena.db, run.id, toMicros(70 * PRICE))
    const second = await claim(arena, run, worker, 8)
    await Promise.all(second.map((call) => book(arena, run, finished(call, found([])))))
    expect(await warnings(run)).toBe(2)
    expect(await types()).toEqual(['run.soft_warning', 'run.soft_warning'])
    await expectClean(arena.db, { runIds: [run.id] })
  })

  it('is given once when the booking that gave it was lost', async () => {
    const run = await makeRun({ products: 4, cap: 4 * PRICE, soft: 50 })
    const calls = await claim(arena, run, await arena.makeWorker(), 4)
    const facts = { calls: 0, outcomes: {} }
    const crashed = withTx(arena.db, async (tx) => {
      await tx.query(
        `update collection_calls set state = 'settled', charge_micros = hold_micros, outcome = 'none', booked_at = now() where run_id = $1`,
        [run.id],
      )
      await closeBooking(tx, run.id, facts)
      throw new Error('the worker is gone')
    })
    await expect(crashed).rejects.toThrow('gone')
    expect(await warnings(run)).toBe(0)
    expect(await told()).toEqual([])
    await book(arena, run, ...calls.map((call) => finished(call, found([]))))
    expect(await warnings(run)).toBe(1)
    expect(await told()).toHaveLength(1)
  })

  it('is given once by two bookings of the very same moment', async () => {
    const run = await makeRun({ products: 4, cap: 4 * PRICE, soft: 50 })
    await claim(arena, run, await arena.makeWorker(), 4)
    await withTx(arena.db, async (tx) => {
      await tx.query(
        `update collection_calls set state = 'suspect', outcome = 'lost', booked_at = now() where run_id = $1`,
        [run.id],
      )
      // One transaction: now() is the same for both.
      await closeBooking(tx, run.id, { calls: 4, outcomes: {} })
      await closeBooking(tx, run.id, { calls: 0, outcomes: {} })
    })
    expect(await warnings(run)).toBe(1)
  })
})

describe('a receiver', () => {
  it('gets what happened, signed, under a key of its own', async () => {
    const run = await makeRun({ cap: 6 * PRICE, soft: 50 })
    startLoop()
    const ended = await work(arena, { run, search: answers })
    await receiver.received(2)
    await all('delivered')
    const [warned, paused] = receiver.got.toSorted((a, b) =>
      String(b.body['type']).localeCompare(String(a.body['type'])),
    )
    expect(warned?.body).toMatchObject({
      type: 'run.soft_warning',
      text: `Run ${run.number}, Proof: 50 % of the cap is used. Nothing stops.`,
      run: { id: run.id, number: run.number, name: 'Proof', status: 'running' },
      money: { capMicros: 6 * PRICE, cap: '$0.006' },
    })
    expect(paused?.body).toMatchObject({
      type: 'run.paused',
      text: `Run ${run.number}, Proof, is paused (budget). ${ended.pauseNote}`,
      run: { status: 'paused' },
      money: { spentMicros: 6 * PRICE, spent: '$0.006', heldMicros: 0, leftMicros: 0, left: '$0.00' },
      data: { reason: 'budget', limit: 'run' },
    })
    for (const { headers, raw, body } of receiver.got) {
      expect(headers['idempotency-key']).toBe(body['id'])
      expect(headers['x-gleaner-event']).toBe(body['type'])
      const [, seconds, signature] = /^t=(\d+),v1=([0-9a-f]{64})$/.exec(String(headers['x-gleaner-signature'])) ?? []
      expect(signature).toBe(createHmac('sha256', secret).update(`${seconds}.${raw}`).digest('hex'))
    }
    expect(paused?.body['id']).toBe(`${run.id}:${ended.eventSeq}`)
  })

  it('that fails is asked again until it works, under the same key', async () => {
    receiver.answerWith((response, nth) => response.writeHead(nth <= 3 ? 500 : 200).end('so it is'))
    await failedRun()
    startLoop()
    await all('delivered')
    expect(receiver.got).toHaveLength(4)
    expect(new Set(receiver.got.map(({ headers }) => headers['idempotency-key'])).size).toBe(1)
    expect(await told()).toMatchObject([{ state: 'delivered', attempts: 4, statusCode: 200, errorMessage: null }])
  })

  it('that hangs is left after the time limit, holds nothing up, and gets it later', async () => {
    receiver.answerWith((response, nth) => {
      if (nth > 1) response.writeHead(200).end()
    })
    await failedRun()
    startLoop({ timeoutMs: 300, backoffMs: 20 })
    await receiver.received(1)
    // The engine goes on meanwhile.
    expect(await work(arena, { run: await makeRun({ products: 3 }), search: answers })).toMatchObject({
      status: 'completed',
    })
    await all('delivered')
    expect((await told()).map(({ type, attempts }) => [type, attempts]).sort()).toEqual([
      ['run.completed', 1],
      ['run.failed', 2],
    ])
  })

  it('that hangs does not take the slots of others', async () => {
    receiver.answerWith(() => {})
    const hanging = orgId
    for (let run = 0; run < 20; run++) await failedRun()
    const [org] = await arena.rows<{ id: string }>(`insert into orgs (name) values ('Other') returning id`)
    const quick = await openReceiver()
    orgId = org?.id ?? ''
    await changeHook(arena.db, orgId, { url: quick.url })
    await failedRun()
    startLoop({ timeoutMs: 10_000 })
    await quick.received(1)
    await all('delivered')
    expect(receiver.got.length).toBeLessThanOrEqual(4)
    await quick.close()
    await changeHook(arena.db, hanging, { url: null })
  })

  it.each([
    ['drips an endless answer', (response: ServerResponse) => void response.writeHead(200).write('x'.repeat(100_000))],
    [
      'breaks off after its status',
      (response: ServerResponse) => response.writeHead(202, { 'content-length': 10 }).end(),
    ],
  ])('that %s has taken it', async (_, answer) => {
    receiver.answerWith(answer)
    await failedRun()
    startLoop()
    await all('delivered')
    expect(receiver.got).toHaveLength(1)
  })

  it('that sends elsewhere is not followed', async () => {
    const elsewhere = await openReceiver()
    receiver.answerWith((response) => response.writeHead(307, { location: elsewhere.url }).end())
    await failedRun()
    startLoop({ backoffMs: 60_000 })
    await receiver.received(1)
    await until(arena.db, 'select from collection_notifications where org_id = $1 and error_message is not null', [
      orgId,
    ])
    expect(await told()).toMatchObject([
      { state: 'pending', statusCode: 307, errorMessage: 'The receiver answered 307.' },
    ])
    expect(elsewhere.got).toEqual([])
    await elsewhere.close()
  })

  it('that never works is given up, says so, and may be asked again by hand', async () => {
    await receiver.close()
    await failedRun()
    startLoop({ backoffMs: 1 })
    await all('failed')
    expect(await told()).toMatchObject([
      {
        state: 'failed',
        attempts: ATTEMPTS_MOST,
        errorMessage: 'The receiver was not reached (ECONNREFUSED).',
        nextAt: null,
      },
    ])
    expect(await hookOf(arena.db, orgId)).toMatchObject({ failed: 1, waiting: 0 })
    receiver = await openReceiver()
    await changeHook(arena.db, orgId, { url: receiver.url })
    expect(await retryFailed(arena.db, orgId)).toBe(1)
    await all('delivered')
    expect(receiver.got).toHaveLength(1)
  }, 40_000)
})

describe('a worker', () => {
  it('that leaves gives back what it was sending; the attempt does not count', async () => {
    receiver.answerWith((response, nth) => {
      if (nth > 1) response.writeHead(200).end()
    })
    await failedRun()
    const stop = startLoop({ timeoutMs: 60_000 })
    await receiver.received(1)
    await stop()
    expect(await told()).toMatchObject([{ state: 'pending', attempts: 0, errorMessage: null }])
    startLoop()
    await all('delivered')
  })

  it('that is too late changes nothing: another has taken it since', async () => {
    await failedRun()
    const [mine] = await takeNotifications(arena.db, 10, 60_000)
    expect(await takeNotifications(arena.db, 10, 60_000)).toEqual([])
    await arena.db.query(`update collection_notifications set lease_until = now() - interval '1 s' where org_id = $1`, [
      orgId,
    ])
    const [theirs] = await takeNotifications(arena.db, 10, 60_000)
    expect([mine?.attempt, theirs?.attempt]).toEqual([1, 2])
    if (!mine || !theirs) throw new Error('nothing was taken')
    await bookMissed(arena.db, mine, { statusCode: 500, message: 'late' }, 1_000_000)
    expect(await told()).toMatchObject([{ state: 'pending', errorMessage: null }])
    await bookDelivered(arena.db, theirs, 200)
    await bookMissed(arena.db, theirs, { statusCode: 500, message: 'late' }, 0)
    expect(await told()).toMatchObject([{ state: 'delivered', statusCode: 200 }])
  })

  it('that is killed while it sends: another sends it again, under the same key', async () => {
    receiver.answerWith((response, nth) => {
      if (nth > 1) response.writeHead(200).end()
    })
    await failedRun()
    const dying = await startWorkerProcess(arena.fresh.url)
    await receiver.received(1)
    await dying.kill()
    expect(await told()).toMatchObject([{ state: 'pending', attempts: 1 }])
    // Half a minute later.
    await arena.db.query(`update collection_notifications set lease_until = now() - interval '1 s' where org_id = $1`, [
      orgId,
    ])
    startLoop()
    await all('delivered')
    expect(receiver.got.map(({ headers }) => headers['idempotency-key'])).toEqual([
      receiver.got[0]?.body['id'],
      receiver.got[0]?.body['id'],
    ])
  })

  it('that falls silent every time: the last attempt is not repeated for ever', async () => {
    await failedRun()
    await arena.db.query(
      `update collection_notifications set attempts = $2, lease_until = now() - interval '1 s' where org_id = $1`,
      [orgId, ATTEMPTS_MOST],
    )
    expect(await takeNotifications(arena.db, 10, 1_000)).toEqual([])
    expect(await told()).toMatchObject([{ state: 'failed', errorMessage: 'The workers that sent it fell silent.' }])
  })
})

describe('the address', () => {
  it('keeps its secret until another is asked for', async () => {
    expect(secret).toMatch(/^[0-9a-f]{64}$/)
    expect(await changeHook(arena.db, orgId, { url: `${receiver.url}/other` })).toBeNull()
    const renewed = await changeHook(arena.db, orgId, { renewSecret: true })
    expect(renewed).toMatch(/^[0-9a-f]{64}$/)
    expect(renewed).not.toBe(secret)
    expect((await hookOf(arena.db, orgId)).url).toBe(`${receiver.url}/other`)
    await changeHook(arena.db, orgId, { url: null })
    await expect(changeHook(arena.db, orgId, { renewSecret: true })).rejects.toMatchObject({ code: 'input.invalid' })
  })

  it.each([
    'ftp://example.org/',
    'example.org',
    'http://',
    'https://user:word@example.org/',
    'https://example.org/#x',
    '',
  ])('cannot be %j', (url) => {
    expect(() => checkNotifyUrl(url)).toThrow(expect.objectContaining({ code: 'input.invalid' }) as Error)
  })

  it.each(['https://example.org/hooks?a=b', 'http://10.0.0.5:8080', 'http://localhost/told'])(
    'can be %s',
    async (url) => {
      expect(await changeHook(arena.db, orgId, { url: checkNotifyUrl(url) })).toBeNull()
    },
  )
})
