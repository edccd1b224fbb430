/** What is kept of one organisation while somebody watches it: its last events, and the figures of its runs. */
import type { FiguresNow } from '../../engine/figures-now.ts'
import type { FeedEntry } from '../../events/feed.ts'
import { runView } from '../views.ts'
import { makeRing, type Ring } from './ring.ts'

/** Figures of a run as they are sent. */
export type FiguresFrame = Readonly<{
  runId: string
  /** Higher than that of any frame before it. */
  version: number
  eventSeq: number
  /** Nothing happens to the run by itself any more. */
  isOver: boolean
  json: string
  /** The same without the moment they were read. */
  body: string
}>

/** As viewers see it. */
export type Channel = Readonly<{
  ring: Pick<Ring, 'after'>
  /** The newest figures, by run. */
  figures: ReadonlyMap<string, FiguresFrame>
  /** True for a run watched by name that is not there any more. */
  isGone: (runId: string) => boolean
}>

/** As the tail sees it. */
export type OpenChannel = Channel &
  Readonly<{
    ring: Ring
    join: (wake: () => void, runId: string | undefined) => void
    leave: (wake: () => void, runId: string | undefined) => void
    isEmpty: () => boolean
    /** True while somebody watches the whole organisation: then all its running runs are asked for. */
    isWatchedWhole: () => boolean
    /** The runs to be asked for by name: those watched that are not over, and those something happened to. */
    askForRuns: () => string[]
    takeEntries: (entries: readonly FeedEntry[]) => void
    /** Takes what came of asking. When events are missing still (`isEarly`), it is asked for again. */
    takeFigures: (found: readonly FiguresNow[], isEarly: boolean) => void
    /** Wakes the viewers when anything came since it was called last. */
    wakeIfNew: () => void
  }>

/** Frames of runs that are over are kept for late readers, so many. */
const OVER_MOST = 50

let versions = 0

/** A channel nobody watches yet, whose events begin after `position`. */
export function makeChannel(position: number): OpenChannel {
  const ring = makeRing(position)
  const wakes = new Set<() => void>()
  /** Runs watched by name, and by how many. */
  const named = new Map<string, number>()
  const figures = new Map<string, FiguresFrame>()
  const gone = new Set<string>()
  let stale = new Set<string>()
  let asked = new Set<string>()
  let whole = 0
  let isNew = false

  const forget = (runId: string): void => {
    gone.delete(runId)
    if (whole === 0) figures.delete(runId)
  }
  const isShown = (runId: string): boolean => whole > 0 || named.has(runId)

  return {
    ring,
    figures,
    isGone: (runId) => gone.has(runId),
    join: (wake, runId) => {
      wakes.add(wake)
      if (runId === undefined) whole++
      else named.set(runId, (named.get(runId) ?? 0) + 1)
    },
    leave: (wake, runId) => {
      if (!wakes.delete(wake)) return
      if (runId === undefined) {
        whole--
        return
      }
      const left = (named.get(runId) ?? 1) - 1
      if (left > 0) named.set(runId, left)
      else if (named.delete(runId)) forget(runId)
    },
    isEmpty: () => wakes.size === 0,
    isWatchedWhole: () => whole > 0,
    askForRuns: () => {
      // What was asked for in vain, because the database was away, is asked for again.
      for (const runId of stale) asked.add(runId)
      stale = new Set()
      for (const runId of named.keys()) if (!figures.get(runId)?.isOver && !gone.has(runId)) asked.add(runId)
      return [...asked]
    },
    takeEntries: (entries) => {
      ring.push(entries)
      for (const { runId } of entries) if (isShown(runId)) stale.add(runId)
      isNew ||= entries.length > 0
    },
    takeFigures: (found, isEarly) => {
      const missing = new Set(asked)
      asked = new Set()
      for (const one of found) {
        const runId = one.run.id
        missing.delete(runId)
        if (isEarly) stale.add(runId)
        else if (isShown(runId)) isNew = keep(figures, one) || isNew
      }
      for (const runId of missing) {
        if (named.has(runId)) gone.add(runId)
        figures.delete(runId)
        isNew = true
      }
      forgetOver(figures, named)
    },
    wakeIfNew: () => {
      if (!isNew) return
      isNew = false
      for (const wake of wakes) wake()
    },
  }
}

/** Keeps figures that differ from those before; true when they do. */
function keep(figures: Map<string, FiguresFrame>, { run, monthLeftMicros, at, isOver }: FiguresNow): boolean {
  const shown = { run: runView(run), monthLeftMicros }
  const body = JSON.stringify(shown)
  if (figures.get(run.id)?.body === body) return false
  const json = JSON.stringify({ at, eventSeq: run.eventSeq, ...shown })
  // Anew at the end: the map is in the order of versions.
  figures.delete(run.id)
  figures.set(run.id, { runId: run.id, eventSeq: run.eventSeq, version: ++versions, isOver, json, body })
  return true
}

function forgetOver(figures: Map<string, FiguresFrame>, named: ReadonlyMap<string, number>): void {
  const over = [...figures.values()].filter(({ runId, isOver }) => isOver && !named.has(runId))
  for (const { runId } of over.slice(0, Math.max(0, over.length - OVER_MOST))) figures.delete(runId)
}
