/** Watching runs: looks at them again and again and draws what it sees. Works on nothing. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Micros } from '../base/money.ts'
import type { Db } from '../db/client.ts'
import { isConnectionError } from '../db/errors.ts'
import { leftOfMonth, monthOf } from '../ledger/month.ts'
import { forecastCost, standingOf } from '../runs/forecast.ts'
import type { Range } from '../runs/range.ts'
import { type RunSnapshot, runSnapshot } from '../runs/snapshot.ts'
import { factsOf } from './facts.ts'
import { makePace, type PaceKeeper } from './pace.ts'
import type { Display, View } from './progress.ts'
import type { RunFacts } from './words.ts'

const LOOK_MS = 250

/** True while something still happens to the run by itself: also to a paused one, until its last call is booked. */
export function isGoingOn(run: RunSnapshot): boolean {
  return run.status === 'running' || run.status === 'pending' || run.heldCalls > 0
}

/** A forecast is made anew after so long, and after so many times what making it took: it reads every product. */
const FORECAST_MS = 5_000
const FORECAST_REST = 50

type Forecast = Readonly<{ status: string; dueMs: number; cost: Range<Micros> | null }>

async function freshForecast(db: Db, run: RunSnapshot, known: Forecast | undefined, nowMs: number): Promise<Forecast> {
  if (known && known.status === run.status && nowMs < known.dueMs) return known
  const from = performance.now()
  const cost = isGoingOn(run) || run.status === 'paused' ? forecastCost(run, await standingOf(db, run.id)) : null
  const rest = Math.max(FORECAST_MS, (performance.now() - from) * FORECAST_REST)
  // Before there is one, it is looked for more often: small runs are soon over.
  return { status: run.status, dueMs: nowMs + (cost === null ? rest / 5 : rest), cost }
}

export type Watcher = Readonly<{ look: (runs: readonly RunSnapshot[]) => Promise<View[]> }>

/** Remembers pace and facts of each run between looks. */
export function makeWatcher(db: Db): Watcher {
  const paces = new Map<string, PaceKeeper>()
  const facts = new Map<string, { status: string; facts: RunFacts }>()
  const forecasts = new Map<string, Forecast>()
  const started = performance.now()
  const epoch = Date.now()
  return {
    look: async (runs) => {
      // Steady, whatever somebody does to the clock of this machine.
      const nowMs = epoch + (performance.now() - started)
      const views: View[] = []
      for (const run of runs) {
        const pace = paces.get(run.id) ?? makePace()
        paces.set(run.id, pace)
        const known = facts.get(run.id)
        const fresh = known?.status === run.status ? known.facts : await factsOf(db, run)
        facts.set(run.id, { status: run.status, facts: fresh })
        const monthLeft = leftOfMonth(await monthOf(db, run.orgId))
        const forecast = await freshForecast(db, run, forecasts.get(run.id), nowMs)
        forecasts.set(run.id, forecast)
        const { cost } = forecast
        views.push({ run, facts: fresh, pace: pace.look(run, nowMs), nowMs, workers: 0, monthLeft, forecast: cost })
      }
      return views
    },
  }
}

/**
 * Draws the run until it has stopped and its last call is booked, or `signal` is aborted. A database that is away is waited
 * for until then.
 */
export async function watchRun(db: Db, runId: string, display: Display, signal: AbortSignal): Promise<void> {
  const watcher = makeWatcher(db)
  for (;;) {
    const seen = await lookThrough(async () => {
      const run = await runSnapshot(db, runId)
      if (!run) throw new Error(`run ${runId} is gone`)
      return { run, views: await watcher.look([run]) }
    }, signal)
    if (!seen) return
    const goesOn = isGoingOn(seen.run)
    if (goesOn) display.update(seen.views)
    if (!goesOn || signal.aborted) return
    await sleep(LOOK_MS, undefined, { signal }).catch(() => {})
  }
}

/** Asks again while the database is away: the workers wait for it too. Null when `signal` is aborted before it answers. */
export async function lookThrough<T>(look: () => Promise<T>, signal: AbortSignal): Promise<T | null> {
  for (;;) {
    try {
      return await look()
    } catch (error) {
      if (!isConnectionError(error)) throw error
      if (signal.aborted) return null
      await sleep(LOOK_MS * 2, undefined, { signal }).catch(() => {})
    }
  }
}

/** The run as it stands now, drawn a last time. */
export async function drawLast(db: Db, runId: string, display: Display): Promise<View> {
  const run = await runSnapshot(db, runId)
  if (!run) throw new Error(`run ${runId} is gone`)
  const [view] = await makeWatcher(db).look([run])
  if (!view) throw new Error('a run was looked at and not seen')
  display.finish([view])
  return view
}
