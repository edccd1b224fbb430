/** Everybody who watches through this process: how many may, and how it ends. */
import { PassThrough, type Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { AppError } from '../../base/errors.ts'
import type { Db } from '../../db/client.ts'
import { type Cut, keepAsking } from './access.ts'
import { makeBell } from './bell.ts'
import { follow, type Read } from './follow.ts'
import { laterFrame, namedFrame, openFrame } from './frames.ts'
import { makeLimiter } from './limiter.ts'
import { makeSink, type Sink } from './sink.ts'
import { makeTail, type Tail } from './tail.ts'
import type { View } from './views.ts'

/** Of one person or key: a browser needs one, a program a few. */
const PER_PRINCIPAL_MOST = 20
const IN_ALL_MOST = 1_000
/** Reads from the database at a time, of all viewers together: many who come back at once must not take every connection. */
const READS_MOST = 3
/** The same of questions about access. Where they take too long, streams end as unsure: fewer are left to ask about. */
const CHECKS_MOST = 3
/** A reader who takes nothing for so long is not there any more. */
const STALL_MS = 60_000
const RETRY_MS = 2_000
const CLOSE_MS = 5_000

export type Viewer = Readonly<{
  /** Who watches, for the limit. */
  principal: string
  orgId: string
  view: View
  /** The id it begins after, as the reader is told. */
  id: string
  /** True when the reader knew of more than the database has: it was set back, and what the reader knows does not count. */
  isReset: boolean
  /** Throws an AppError when the viewer may not watch any more. */
  check: () => Promise<void>
  /** Runs statements as the member who watches. */
  read: Read
  /** Aborted when the reader is gone. */
  gone: AbortSignal
}>

export type Live = Readonly<{
  /**
   * The stream of one viewer. Throws AppError `request.too_many` when `principal` watches as much as one may, or all
   * together do, and `server.busy` once `close` was called.
   */
  open: (viewer: Viewer) => Readable
  /** How many watch now. */
  count: () => number
  tail: Tail
  /** Ends all streams, telling their readers when to come again, and stops asking the database. */
  close: () => Promise<void>
}>

type Open = Readonly<{ principal: string; stop: () => void; done: Promise<void> }>

/** The live part of a process over `db`, which sees all organisations. */
export function makeLive(db: Db, log: (message: string, error: unknown) => void): Live {
  const tail = makeTail(db, log)
  const open = new Set<Open>()
  const limited = makeLimiter(READS_MOST)
  const limitedChecks = makeLimiter(CHECKS_MOST)
  let isClosing = false

  const checkRoom = (principal: string): void => {
    if (isClosing) throw new AppError('server.busy', 'The server is stopping.', { hint: 'Try again in a moment.' })
    if (open.size >= IN_ALL_MOST) throw tooMany('This server has as many streams open as it may.')
    const own = [...open].filter((one) => one.principal === principal).length
    if (own >= PER_PRINCIPAL_MOST) throw tooMany(`${PER_PRINCIPAL_MOST} streams are open already.`)
  }

  return {
    open: (viewer) => {
      checkRoom(viewer.principal)
      const stream = new PassThrough()
      // A reader that left: Fastify destroys what it was sending.
      stream.on('error', () => {})
      const sink = makeSink(stream, STALL_MS)
      const over = new AbortController()
      const stop = (text: string): void => {
        sink.end(text)
        over.abort()
      }
      const read: Read = (work) => limited(() => viewer.read(work))
      const check = (): Promise<void> => limitedChecks(viewer.check)
      const done = serve({ ...viewer, read, check }, tail, sink, over, stop)
        .catch((error: unknown) => {
          log('live: a stream broke', error)
          stop(later('busy'))
        })
        .finally(() => open.delete(entry))
      const entry: Open = { principal: viewer.principal, stop: () => stop(later('stopping')), done }
      open.add(entry)
      return stream
    },
    count: () => open.size,
    tail,
    close: async () => {
      isClosing = true
      for (const { stop } of open) stop()
      // One that waits for a database that does not answer is not waited for.
      const enough = new AbortController()
      const all = Promise.all([...[...open].map(({ done }) => done), tail.close()])
      await Promise.race([all, sleep(CLOSE_MS, undefined, { signal: enough.signal }).catch(() => {})])
      enough.abort()
    },
  }
}

function tooMany(message: string): AppError {
  return new AppError('request.too_many', message, {
    hint: 'Close one that is not needed: the stream of an organisation tells of all its runs.',
  })
}

/** A last frame that says when to come again: not all at the same moment. */
function later(reason: 'stopping' | 'busy'): string {
  return laterFrame(500 + Math.floor(Math.random() * RETRY_MS), JSON.stringify({ reason }))
}

/** Serves one viewer until its stream has ended, for whatever reason; `over` is aborted then. */
async function serve(
  { orgId, view, id, isReset, check, read, gone }: Viewer,
  tail: Tail,
  sink: Sink,
  over: AbortController,
  stop: (text: string) => void,
): Promise<void> {
  const bell = makeBell()
  const end = (): void => over.abort()
  if (gone.aborted) end()
  over.signal.addEventListener('abort', bell.ring, { once: true })
  gone.addEventListener('abort', end, { once: true })
  const cut = ({ code, mayReturn }: Cut): void =>
    stop(mayReturn ? later('busy') : namedFrame('cut', JSON.stringify({ code })))
  // Before the first word, or what is new meanwhile would be asked for later than it could be.
  const watch = await tail.watch({ orgId, ...(view.runId === undefined ? {} : { runId: view.runId }), wake: bell.ring })
  try {
    const first = openFrame(id, RETRY_MS, JSON.stringify({ at: new Date().toISOString(), after: id }))
    if (!(await sink.send(isReset ? first + namedFrame('reset', JSON.stringify({ after: id })) : first))) return
    const asking = keepAsking(check, cut, over.signal)
    await follow({ view, sink, channel: watch.channel, read, bell, signal: over.signal })
    over.abort()
    await asking
  } finally {
    watch.end()
    over.abort()
    gone.removeEventListener('abort', end)
  }
}
