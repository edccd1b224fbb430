/**
 * Exports made by workers: a loop of its own takes what was asked for, writes the file in parts and says how far it is. The
 * rows are read in one snapshot, as the person who asked for it may read them; parts are committed as they come, so that
 * the file of a dead worker is simply made anew by another. ADR 0021.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import { type Db, withTx, withTxRetry } from '../db/client.ts'
import { asMember } from '../db/session.ts'
import { readSettings } from '../runs/settings.ts'
import { makeWriter } from '../sellers/export-file.ts'
import {
  type ExportRow,
  endExport,
  expireExports,
  type Progress,
  takeExport,
  writePart,
  writeTotal,
} from '../sellers/export-jobs.ts'
import { moveProfileOn, readProfile } from '../sellers/export-profiles.ts'
import { eachRows, lastListed } from '../sellers/export-rows.ts'
import { countView } from '../sellers/list-count.ts'
import type { SellerView } from '../sellers/view.ts'
import { viewFromJson } from '../sellers/view-json.ts'

const LOOK_MS = 1_000
/** A worker that writes nothing for so long is taken for dead. A part takes some tenths of a second. */
const LEASE_MS = 60_000
/** Bytes of the file in one part, before they are compressed; and a part is written at least this often, so that progress shows. */
const PART_BYTES = 4_000_000
const PART_MS = 1_000
/** After so many workers died of it, or were taken for dead, it is given up. */
const ATTEMPTS_MOST = 3

export type MakeExportsOptions = Readonly<{
  db: Db
  log: (message: string, facts?: Record<string, unknown>) => void
  lookMs?: number
}>

/** Makes what is asked for, one at a time, until `signal` is aborted. */
export async function makeExportsLoop(
  { db, log, lookMs = LOOK_MS }: MakeExportsOptions,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    const made = await makeNextExport(db, signal).catch((error: unknown) => {
      log('an export could not be made', { error: String(error) })
      return null
    })
    if (made) log('export', { id: made.job.id, end: made.end })
    else await sleep(lookMs, undefined, { signal }).catch(() => {})
  }
}

type End = 'ready' | 'failed' | 'stopped' | 'left'

/** Makes the export that has waited longest and takes away what is too old; null when none waits. */
export async function makeNextExport(
  db: Db,
  signal: AbortSignal = new AbortController().signal,
): Promise<Readonly<{ job: ExportRow; end: End }> | null> {
  const job = await withTxRetry(db, async (tx) => {
    await expireExports(tx)
    return takeExport(tx, LEASE_MS)
  })
  if (!job) return null
  if (job.attempt > ATTEMPTS_MOST)
    return { job, end: await end(db, job, 'failed', 'Its workers fell silent again and again.') }
  try {
    return { job, end: await make(db, job, signal) }
  } catch (error) {
    await end(db, job, 'failed', error instanceof Error ? error.message : String(error)).catch(() => {})
    throw error
  }
}

/** What was asked for could not be done as asked. */
class Refused extends Error {}

async function make(db: Db, job: ExportRow, signal: AbortSignal): Promise<End> {
  let stopped: 'stop' | 'gone' | 'left' | undefined
  let reached = 0
  try {
    await withTx(
      db,
      async (tx) => {
        await tx.query('set transaction read only')
        // Whatever this person may not read, or no more, is not in the file.
        await asMember(tx, { userId: job.createdBy, orgId: job.orgId })
        reached = await lastListed(tx, job.orgId)
        const view = await viewOf(tx, job)
        await writeTotal(db, job, await countView(tx, job.orgId, view))
        const parts = makeParts(db, job)
        await parts.put(await parts.writer.begin(), 0)
        await eachRows(tx, { orgId: job.orgId, view, order: job, columns: job.columns }, async (rows) => {
          const state = signal.aborted ? 'left' : await parts.put(await parts.writer.rows(rows), rows.length)
          if (state !== 'go on') stopped = state
          return stopped === undefined
        })
        if (stopped !== undefined) return
        const last = await parts.finish(await parts.writer.end())
        if (last !== 'go on') stopped = last
      },
      { isolation: 'repeatable read' },
    )
  } catch (error) {
    if (error instanceof Refused) return end(db, job, 'failed', error.message)
    throw error
  }
  // Taken up again by another worker, from the beginning, when its lease is over.
  if (stopped === 'left') return release(db, job)
  if (stopped === 'gone') return 'left'
  if (stopped === 'stop') return end(db, job, 'stopped')
  return end(db, job, 'ready', undefined, reached)
}

async function viewOf(tx: Parameters<typeof readProfile>[0], job: ExportRow): Promise<SellerView> {
  const view = viewFromJson(job.filter)
  if (!job.onlyNew) return view
  const profile = job.profileId === null ? null : await readProfile(tx, job.orgId, job.profileId)
  if (!profile) throw new Refused('The profile it was to be new to is gone.')
  return { ...view, listedAfter: profile.lastSeq }
}

async function release(db: Db, job: ExportRow): Promise<End> {
  await db.query(`update seller_exports set lease_until = now() where id = $1 and attempt = $2`, [job.id, job.attempt])
  return 'left'
}

async function end(
  db: Db,
  job: ExportRow,
  state: 'ready' | 'failed' | 'stopped',
  error?: string,
  reached?: number,
): Promise<End> {
  const ended = await withTxRetry(db, async (tx) => {
    const { keepExportsDays: keepDays } = await readSettings(tx, job.orgId)
    const mine = await endExport(tx, job, { state, keepDays, ...(error === undefined ? {} : { error }) })
    // Only what was all of a view may move the mark of its profile on.
    if (mine && state === 'ready' && job.profileId !== null)
      await moveProfileOn(tx, job.orgId, job.profileId, reached ?? 0)
    return mine
  })
  return ended ? state : 'left'
}

const compress = promisify(gzip)

/** Gathers what the writer gives into parts, compresses and commits them. */
function makeParts(db: Db, job: ExportRow) {
  const writer = makeWriter(job.format, job.columns, job.safe)
  const progress = { rows: 0, bytes: 0, parts: 0 }
  let waiting: Buffer[] = []
  let size = 0
  let writtenAt = performance.now()
  const flush = async (): Promise<'go on' | 'stop' | 'gone'> => {
    const content = await compress(Buffer.concat(waiting), { level: 1 })
    waiting = []
    size = 0
    progress.parts += 1
    writtenAt = performance.now()
    const told: Progress = { ...progress }
    return withTxRetry(db, (tx) => writePart(tx, job, content, told, LEASE_MS))
  }
  const put = async (bytes: Buffer, rows: number): Promise<'go on' | 'stop' | 'gone'> => {
    waiting.push(bytes)
    size += bytes.length
    progress.rows += rows
    progress.bytes += bytes.length
    const due = size >= PART_BYTES || performance.now() - writtenAt >= PART_MS
    return due ? flush() : 'go on'
  }
  const finish = (bytes: Buffer): Promise<'go on' | 'stop' | 'gone'> => {
    waiting.push(bytes)
    progress.bytes += bytes.length
    return flush()
  }
  return { writer, put, finish }
}
