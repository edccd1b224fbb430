/** What a lane does when the governor bars its accounts: the run pauses with the reason, and goes on by itself. */
import type { Room } from '../ledger/claim.ts'
import type { RunSnapshot } from '../runs/snapshot.ts'
import { type Lane, type Side, throughOutages } from './lane.ts'
import { type Pause, pauseRun } from './run-acts.ts'

/** A provider that wants to be left alone for longer than this, ms, is a reason to pause; shorter rests are waited for. */
const REST_MOST_MS = 60_000

/**
 * Pauses the run when nothing of it can be sent because the governor of the accounts it needs now is stopped, out of
 * quota or resting for long; closes the lane then. Work that can go on at another account goes on.
 */
export async function pauseIfBarred(lane: Lane): Promise<void> {
  const needed: Side[] = []
  if (lane.run.pendingItems > 0) needed.push('search')
  if (lane.list && lane.run.openCategories > 0) needed.push('list')
  const pauses = needed.map((side) => pauseFor(lane, side))
  const [first] = pauses
  if (!first || pauses.includes(null)) return
  // Both sides are barred: the first to be open again decides, the other is met again then.
  const pause = pauses.reduce((soonest, one) => (untilOf(one) < untilOf(soonest) ? one : soonest), first)
  if (!pause) return
  await throughOutages(lane, async () => {
    lane.run = await pauseRun(lane.db, lane.run.id, pause)
  })
  lane.closing = true
}

const DAY_MS = 86_400_000

/**
 * When a run that lives on a day's quota will end, as a sentence: the products that wait, at as many calls a product as it
 * took so far, at the whole quota each day from `resumeAt` on. Empty without a quota. Other runs at the account make it later.
 */
export function daysLeft(
  run: Pick<RunSnapshot, 'pendingItems' | 'processedItems' | 'settledCalls'>,
  callsPerDay: number | null,
  resumeAt: Date,
): string {
  if (callsPerDay === null || run.pendingItems === 0) return ''
  const perProduct = run.processedItems > 0 ? Math.max(1, run.settledCalls / run.processedItems) : 1
  const calls = Math.ceil(run.pendingItems * perProduct)
  const days = Math.ceil(calls / callsPerDay)
  const lastDay = new Date(resumeAt.getTime() + (days - 1) * DAY_MS).toISOString().slice(0, 10)
  return ` About ${calls} calls are left to make: ${days} more ${days === 1 ? 'day' : 'days'}, the last about ${lastDay}.`
}

function untilOf(pause: Pause | null): number {
  return pause?.resumeAt?.getTime() ?? Number.POSITIVE_INFINITY
}

function pauseFor(lane: Lane, side: Side): Pause | null {
  const room: Room | null = lane.room[side]
  const name = (side === 'search' ? lane.search : lane.list)?.name ?? ''
  if (!room?.until) return null
  const said = room.note ? ` ${room.note}` : ''
  switch (room.reason) {
    case 'stopped':
      return { reason: 'provider', resumeAt: room.until, note: `The account ${name} is stopped.${said}` }
    case 'quota': {
      const used = room.note ?? `The quota of the account ${name} is used up.`
      const left = side === 'search' ? daysLeft(lane.run, lane.search.callsPerDay ?? null, room.until) : ''
      return { reason: 'quota', resumeAt: room.until, note: `${used}${left}` }
    }
    case 'rest':
      if ((room.untilMs ?? 0) <= REST_MOST_MS) return null
      return { reason: 'provider', resumeAt: room.until, note: `The account ${name} asked to be left alone.${said}` }
    default:
      return null
  }
}
