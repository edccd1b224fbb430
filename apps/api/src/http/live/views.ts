/**
 * The two things that can be watched. A view knows up to where it was sent, and goes on from there: from the memory of the
 * process while it can, from the database when it cannot. It moves forward only by what it hands out, so nothing is left out
 * and nothing is said twice, wherever it reads.
 */
import type { Queryable } from '../../db/client.ts'
import { readFeed, readRunPage } from '../../events/feed.ts'
import type { Channel, FiguresFrame } from './channel.ts'
import { factFrame, namedFrame } from './frames.ts'
import type { RingEntry } from './ring.ts'

export type View = Readonly<{
  runId?: string
  /** Up to which position of the organisation all was handed out; null while that is not known. */
  position: () => number | null
  /** What this entry means for the view, as frames; empty when nothing. Entries come in order. */
  take: (entry: RingEntry) => string
  /** What follows, read from the database; `count` is how many positions or events that was. */
  read: (tx: Queryable) => Promise<Readonly<{ text: string; count: number }>>
  /** Frames of figures that were not handed out yet. Only when all events are. */
  figures: (channel: Channel) => string
  /** The last frame, when nothing can follow it; null while something can. Only when all events and figures are handed out. */
  end: (channel: Channel) => string | null
}>

/** Read from the database at a time: about 60 KB. */
const PAGE = 200

/** The id an event has in the stream of an organisation. Never to be taken for the number of a run's event. */
export function positionId(position: number): string {
  return `o${position}`
}

/** One run, after event number `after`. Its ids are its event numbers. */
export function viewOfRun(orgId: string, runId: string, after: number): View {
  let seq = after
  let position: number | null = null
  let version = 0
  return {
    runId,
    position: () => position,
    take: (entry) => {
      position = entry.position
      if (entry.runId !== runId || entry.json === null || entry.seq <= seq) return ''
      if (entry.seq !== seq + 1) {
        // Cannot be; the database has what is between.
        position = null
        return ''
      }
      seq = entry.seq
      return factFrame(String(seq), entry.json)
    },
    read: async (tx) => {
      const page = await readRunPage(tx, { orgId, runId }, seq, PAGE)
      const text = page.events.map((event) => factFrame(String(event.seq), JSON.stringify(event))).join('')
      seq = page.events.at(-1)?.seq ?? seq
      position = page.events.length < PAGE ? page.position : null
      return { text, count: page.events.length }
    },
    figures: ({ figures }) => {
      const frame = figures.get(runId)
      if (!frame || frame.version <= version) return ''
      version = frame.version
      return namedFrame('figures', frame.json)
    },
    end: ({ figures, isGone }) => {
      if (isGone(runId)) return namedFrame('end', JSON.stringify({ runId, reason: 'deleted' }))
      const frame = figures.get(runId)
      if (!frame?.isOver || frame.eventSeq !== seq) return null
      return namedFrame('end', JSON.stringify({ runId, reason: 'ended', eventSeq: seq }))
    },
  }
}

/** All runs of an organisation, after `after`. Its ids are positions. */
export function viewOfOrg(orgId: string, after: number): View {
  let position = after
  let version = 0
  let isFirst = true
  return {
    position: () => position,
    take: (entry) => {
      position = entry.position
      return entry.json === null ? '' : factFrame(positionId(position), entry.json)
    },
    read: async (tx) => {
      const entries = await readFeed(tx, [{ orgId, after: position }], PAGE)
      let text = ''
      for (const { position: at, event } of entries) {
        position = at
        if (event) text += factFrame(positionId(at), JSON.stringify(event))
      }
      return { text, count: entries.length }
    },
    figures: ({ figures }) => {
      // Of runs that were over before this view came, nothing is new.
      const fresh = (frame: FiguresFrame): boolean => frame.version > version && !(isFirst && frame.isOver)
      const text = [...figures.values()].filter(fresh).map(({ json }) => namedFrame('figures', json))
      for (const frame of figures.values()) version = Math.max(version, frame.version)
      isFirst = false
      return text.join('')
    },
    end: () => null,
  }
}
