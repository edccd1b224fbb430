/** One viewer: hands a view's frames to a reader, as fast as that reader takes them. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Queryable } from '../../db/client.ts'
import type { Bell } from './bell.ts'
import type { Channel } from './channel.ts'
import { beatFrame } from './frames.ts'
import type { Sink } from './sink.ts'
import type { View } from './views.ts'

/** Pages say "reconnecting" after two beats missed, and "offline" after 10 s. */
export const BEAT_MS = 4_000
/** Handed to a reader at a time. */
const ENTRIES_MOST = 200
const TEXT_MOST = 64 * 1024
/** Between two looks at a database that is away, or does not show what it should. */
const REST_MS = 250

export type Read = <T>(work: (tx: Queryable) => Promise<T>) => Promise<T>

export type Following = Readonly<{
  view: View
  sink: Sink
  channel: Channel
  /** Reads as the member who watches, so that row level security decides also about what is read late. */
  read: Read
  /** Rings when there may be something new. */
  bell: Bell
  signal: AbortSignal
}>

/**
 * Hands out everything there is and comes to be, until the reader is gone, `signal` is aborted, or nothing can follow: then
 * the last frame was sent and the connection is closed. A reader that is slow reads from the database once the memory of the
 * process has moved on: nothing is kept for it.
 */
export async function follow(following: Following): Promise<void> {
  const { view, sink, channel, bell, signal } = following
  while (!signal.aborted) {
    const text = await next(following)
    if (signal.aborted) return
    if (text !== null) {
      if (text !== '' && !(await sink.send(text))) return
      continue
    }
    const last = view.end(channel)
    if (last !== null) return sink.end(last)
    const hasNews = await bell.wait(BEAT_MS)
    if (!hasNews && !(await sink.send(beatFrame(new Date().toISOString())))) return
  }
}

/** The next frames; null when all there is was handed out. */
async function next(following: Following): Promise<string | null> {
  const { view, channel } = following
  const position = view.position()
  const entries = position === null ? null : channel.ring.after(position, ENTRIES_MOST)
  if (entries === null) return readOn(following)
  if (entries.length === 0) return view.figures(channel) || null
  let text = ''
  for (const entry of entries) {
    text += view.take(entry)
    if (view.position() === null || text.length > TEXT_MOST) break
  }
  return text
}

async function readOn({ view, read, signal }: Following): Promise<string> {
  const rest = (): Promise<void> => sleep(REST_MS, undefined, { signal }).catch(() => {})
  const before = view.position()
  try {
    const { text, count } = await read((tx) => view.read(tx))
    // The process knows of more than the member is shown: whoever asks about access finds out why (access.ts).
    if (count === 0 && view.position() === before) await rest()
    return text
  } catch {
    // The tail says that the database is away, and a stream that stays unsure of its access ends.
    await rest()
    return ''
  }
}
