/**
 * Where a test's worker process ends, or freezes: at the nth time it comes to a named point of the flow. Nothing of this is in
 * the product. The points of the database are recognised by what a transaction does to the tables, those of the network by
 * the channels undici tells of its requests on.
 */
import { subscribe } from 'node:diagnostics_channel'
import pg from 'pg'

/** Transactions a worker may die in, by what they do. Lists and searches are claimed and booked by different code. */
type Deed = 'claim' | 'claim-list' | 'book' | 'book-list' | 'pause' | 'rescue' | 'complete'

/**
 * `inside`: after the deed's statement, before COMMIT. `before_commit`: COMMIT is never sent. `at_commit`: it is sent, and
 * nobody waits for its answer. `committed`: the answer came, and nothing in memory has changed yet.
 */
type Moment = 'inside' | 'before_commit' | 'at_commit' | 'committed'

/** `send.sent`: a request is on its way. `send.answered`: its answer is complete, and nobody has looked at it yet. */
export type Point = `${Deed}.${Moment}` | 'send.sent' | 'send.answered'

export type Fate = Readonly<{
  point: Point
  /** The how many-th time. */
  nth: number
  /** SIGSTOP freezes instead. */
  signal: 'SIGKILL' | 'SIGSTOP'
}>

/** A transaction a frozen worker leaves open is ended by the server after this long, ms; 30 s in production. */
const FROZEN_TRANSACTION_MS = 1_200

/** What the text of a statement does, or null; `movesList` when its transaction has changed a category already. */
function deedOf(text: string, movesList: boolean): Deed | null {
  const list = movesList || /\bcollection_run_categories\b/.test(text)
  if (/insert into collection_calls\b/.test(text)) return list ? 'claim-list' : 'claim'
  if (/update collection_calls\b.*set\s+state = 'suspect'/s.test(text)) return 'rescue'
  if (/update collection_calls\b/.test(text) && !/'unsent'/.test(text)) return list ? 'book-list' : 'book'
  if (/update collection_runs\b.*status = 'paused'/s.test(text)) return 'pause'
  if (/update collection_runs\b.*status = 'completed'/s.test(text)) return 'complete'
  return null
}

/** Lets this process meet its fate. To be called before anything connects. */
export function meet(fate: Fate): void {
  let times = 0
  const reach = (point: Point): void => {
    if (point !== fate.point) return
    times += 1
    if (times === fate.nth) process.kill(process.pid, fate.signal)
  }
  watchNetwork(reach)
  watchDatabase(reach, fate.signal === 'SIGSTOP')
}

function watchNetwork(reach: (point: Point) => void): void {
  const metered = (message: unknown): boolean => {
    const { request } = message as { request: { headers: unknown } }
    return JSON.stringify(request.headers).toLowerCase().includes('x-request-id')
  }
  subscribe('undici:request:bodySent', (message) => {
    if (metered(message)) reach('send.sent')
  })
  subscribe('undici:request:trailers', (message) => {
    if (metered(message)) reach('send.answered')
  })
}

type Query = (...args: unknown[]) => unknown
type Open = { deeds: Set<Deed>; movesList: boolean }

function watchDatabase(reach: (point: Point) => void, freezes: boolean): void {
  const client = pg.Client.prototype as unknown as { query: Query }
  const plain = client.query
  const open = new WeakMap<object, Open>()

  client.query = function query(this: object, ...args: unknown[]): unknown {
    const text = textOf(args[0])
    if (/^begin\b/i.test(text)) {
      open.set(this, { deeds: new Set(), movesList: false })
      const bounded = `${text}; set local idle_in_transaction_session_timeout = ${FROZEN_TRANSACTION_MS}`
      return freezes ? plain.call(this, bounded, ...args.slice(1)) : plain.apply(this, args)
    }
    const transaction = open.get(this)
    if (/^rollback\b/i.test(text)) open.delete(this)
    if (/^commit\b/i.test(text)) {
      open.delete(this)
      return atEnd.call(this, [...(transaction?.deeds ?? [])], args)
    }
    const deed = deedOf(text, transaction?.movesList ?? false)
    if (transaction && /update collection_run_categories\b/.test(text)) transaction.movesList = true
    if (!deed) return plain.apply(this, args)
    if (!transaction) return atEnd.call(this, [deed], args)
    transaction.deeds.add(deed)
    return after(plain.apply(this, args), () => reach(`${deed}.inside`))
  }

  function atEnd(this: object, deeds: readonly Deed[], args: unknown[]): unknown {
    for (const deed of deeds) reach(`${deed}.before_commit`)
    const answer = plain.apply(this, args)
    for (const deed of deeds) reach(`${deed}.at_commit`)
    return after(answer, () => {
      for (const deed of deeds) reach(`${deed}.committed`)
    })
  }
}

function textOf(statement: unknown): string {
  const text = typeof statement === 'string' ? statement : (statement as { text?: unknown } | undefined)?.text
  return typeof text === 'string' ? text.trimStart() : ''
}

/** Runs `then` when the promise is kept, before anybody who waits for it. */
function after(answer: unknown, then: () => void): unknown {
  if (!(answer instanceof Promise)) return answer
  return answer.then((value: unknown) => {
    then()
    return value
  })
}
