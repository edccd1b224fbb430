/**
 * One tail for each process, however many watch: ten times a second it asks for what is new in the organisations that are
 * watched, in one statement, and four times a second for the figures of their runs, in another. It asks nothing while
 * nobody watches.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Db } from '../../db/client.ts'
import { type FiguresNow, figuresNow } from '../../engine/figures-now.ts'
import { lastPosition, readFeed } from '../../events/feed.ts'
import { type Channel, makeChannel, type OpenChannel } from './channel.ts'

/** NOTIFY in every transaction would halve the commits of the engine; asking this often costs one index scan each. */
const LOOK_MS = 100
const FIGURES_MS = 250
/** Positions read at a time of each organisation. */
const READ_MOST = 1_000
/** While the database is away. */
const REST_MS = 500

export type Wanted = Readonly<{
  orgId: string
  /** A run of it, when only that one is watched. */
  runId?: string
  /** Called whenever there may be something new. */
  wake: () => void
}>

export type Watch = Readonly<{ channel: Channel; end: () => void }>

export type Tail = Readonly<{
  /** Watches an organisation, or one run of it, until `end` is called. */
  watch: (wanted: Wanted) => Promise<Watch>
  /** How many statements it has sent so far. */
  asked: () => number
  /** Stops asking. */
  close: () => Promise<void>
}>

type State = { readonly db: Db; readonly channels: Map<string, OpenChannel>; asked: number }

/** The tail of this process over `db`, which sees all organisations. `log` is told when the database is away, once each time. */
export function makeTail(db: Db, log: (message: string, error: unknown) => void): Tail {
  const channels = new Map<string, OpenChannel>()
  const state: State = { db, channels, asked: 0 }
  const stop = new AbortController()
  let running: Promise<void> | null = null

  const begin = (): void => {
    if (running || stop.signal.aborted || channels.size === 0) return
    running = run().finally(() => {
      running = null
      // Somebody may have come while it was ending.
      begin()
    })
  }

  const run = async (): Promise<void> => {
    let isAway = false
    let figuresAt = Number.NEGATIVE_INFINITY
    while (channels.size > 0 && !stop.signal.aborted) {
      const begun = performance.now()
      const isDue = begun - figuresAt >= FIGURES_MS
      if (isDue) figuresAt = begun
      try {
        const isMore = await look(state, isDue)
        isAway = false
        if (isMore) continue
      } catch (error) {
        if (!isAway) log('live: the database does not answer', error)
        isAway = true
        await pause(REST_MS, stop.signal)
      }
      await pause(Math.max(5, LOOK_MS - (performance.now() - begun)), stop.signal)
    }
  }

  return {
    watch: async ({ orgId, runId, wake }) => {
      const position = channels.has(orgId) ? 0 : await lastPosition(db, orgId)
      // Somebody else may have opened it meanwhile.
      const channel = channels.get(orgId) ?? makeChannel(position)
      channels.set(orgId, channel)
      channel.join(wake, runId)
      begin()
      return {
        channel,
        end: () => {
          channel.leave(wake, runId)
          if (channel.isEmpty() && channels.get(orgId) === channel) channels.delete(orgId)
        },
      }
    },
    asked: () => state.asked,
    close: async () => {
      stop.abort()
      await running
    },
  }
}

/** Asks once; true when there was more than is read at a time. */
async function look(state: State, withFigures: boolean): Promise<boolean> {
  const open = [...state.channels]
  // Figures first: what led to them is then among the events read after them.
  const found = withFigures ? await readFigures(state, open) : null
  state.asked++
  const places = open.map(([orgId, channel]) => ({ orgId, after: channel.ring.to() }))
  const fresh = Map.groupBy(await readFeed(state.db, places, READ_MOST), ({ orgId }) => orgId)
  let isMore = false
  for (const [orgId, channel] of open) {
    // Closed meanwhile, and perhaps opened anew at another place.
    if (state.channels.get(orgId) !== channel) continue
    const entries = fresh.get(orgId) ?? []
    channel.takeEntries(entries)
    const isFull = entries.length === READ_MOST
    isMore ||= isFull
    if (found) channel.takeFigures(found.get(orgId) ?? [], isFull)
    channel.wakeIfNew()
  }
  return isMore
}

async function readFigures(state: State, open: readonly [string, OpenChannel][]): Promise<Map<string, FiguresNow[]>> {
  const runIds = open.flatMap(([, channel]) => channel.askForRuns())
  const orgIds = open.flatMap(([orgId, channel]) => (channel.isWatchedWhole() ? [orgId] : []))
  if (runIds.length === 0 && orgIds.length === 0) return new Map()
  state.asked++
  return Map.groupBy(await figuresNow(state.db, runIds, orgIds), ({ run }) => run.orgId)
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return sleep(ms, undefined, { signal }).catch(() => {})
}
