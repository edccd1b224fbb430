/** Opening a stream: where it begins, and whether there is anything to come. */
import type { Readable } from 'node:stream'
import { AppError } from '../../base/errors.ts'
import type { Queryable } from '../../db/client.ts'
import { isOver } from '../../engine/figures-now.ts'
import { lastPosition } from '../../events/feed.ts'
import { type RunSnapshot, runSnapshot } from '../../runs/snapshot.ts'
import type { Read } from './follow.ts'
import type { Live, Viewer } from './live.ts'
import { positionId, type View, viewOfOrg, viewOfRun } from './views.ts'

export type Asked = Readonly<{
  orgId: string
  /** The run, when one is asked for. */
  runId?: string
  /** The id to go on after: the header Last-Event-ID, which a browser sends when it comes again, or the parameter `after`. */
  after: string | undefined
  /** Who asks, for the limit. */
  principal: string
  /** Runs statements as the member who asks, in one moment of the database. Throws when the member may not watch. */
  read: Read
  /** Throws an AppError when the one who asks is not signed in any more. */
  checkIdentity: () => Promise<void>
  gone: AbortSignal
}>

/**
 * The stream that was asked for, or null when nothing can come any more: the run is over and its last event is known.
 * Throws AppError `run.not_found`, `input.invalid` for an id that is none, and what `live.open` throws.
 */
export async function openStream(live: Live, asked: Asked): Promise<Readable | null> {
  const { orgId, runId, principal, read, gone } = asked
  const begin = await read((tx) => (runId === undefined ? beginOrg(tx, asked) : beginRun(tx, asked, runId)))
  if (begin === null) return null
  const check = async (): Promise<void> => {
    await asked.checkIdentity()
    await read(async (tx) => {
      if (runId !== undefined) await visibleRun(tx, orgId, runId)
    })
  }
  return live.open({ principal, orgId, ...begin, check, read, gone })
}

type Beginning = Pick<Viewer, 'view' | 'id' | 'isReset'>

/** From the first event on, unless told. */
async function beginRun(tx: Queryable, { orgId, after }: Asked, runId: string): Promise<Beginning | null> {
  const wanted = numberIn(after, /^(\d{1,15})$/) ?? 0
  const run = await visibleRun(tx, orgId, runId)
  if (isOver(run) && wanted === run.eventSeq) return null
  const isReset = wanted > run.eventSeq
  const from = isReset ? 0 : wanted
  return beginning(viewOfRun(orgId, runId, from), String(from), isReset)
}

/** From now on, unless told. */
async function beginOrg(tx: Queryable, { orgId, after }: Asked): Promise<Beginning> {
  const last = await lastPosition(tx, orgId)
  const wanted = numberIn(after, /^o(\d{1,15})$/) ?? last
  const isReset = wanted > last
  const from = isReset ? last : wanted
  return beginning(viewOfOrg(orgId, from), positionId(from), isReset)
}

function beginning(view: View, id: string, isReset: boolean): Beginning {
  return { view, id, isReset }
}

async function visibleRun(tx: Queryable, orgId: string, runId: string): Promise<RunSnapshot> {
  const run = await runSnapshot(tx, runId)
  if (run?.orgId !== orgId) throw new AppError('run.not_found', 'There is no such run.')
  return run
}

/** The number in an id; null when none was given. Throws AppError `input.invalid` for anything else. */
function numberIn(id: string | undefined, form: RegExp): number | null {
  if (id === undefined || id === '') return null
  const number = form.exec(id)?.[1]
  if (number === undefined) {
    throw new AppError('input.invalid', 'after (or Last-Event-ID) is no id of this stream.', {
      hint: 'Send the id of the last event that came, or leave it out.',
    })
  }
  return Number(number)
}
