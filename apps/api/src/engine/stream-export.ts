/**
 * An export straight as a download. The database is read at its own speed into a temporary file, and the file is sent at the
 * reader's: no transaction waits for a network, whoever is slow, and memory stays flat.
 */
import { type FileHandle, mkdtemp, open, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { makeWake } from '../base/wake.ts'
import { type Db, type Tx, withTx } from '../db/client.ts'
import { type ExportFormat, makeWriter } from '../sellers/export-file.ts'
import { type ExportedRows, eachRows } from '../sellers/export-rows.ts'

export type StreamedExport = ExportedRows & Readonly<{ format: ExportFormat; safe: boolean }>

const CHUNK = 256 * 1024

/**
 * The bytes of the file as they become known. `actAs` says on whose behalf the snapshot is read. The database is let go as
 * soon as the last row is in the temporary file, which is gone when the reader ends, whichever way.
 */
export async function* streamExport(
  db: Db,
  actAs: (tx: Tx) => Promise<void>,
  wanted: StreamedExport,
): AsyncGenerator<Buffer, void, void> {
  const dir = await mkdtemp(join(tmpdir(), 'gleaner-export-'))
  let file: FileHandle | undefined
  const wake = makeWake()
  const state = { size: 0, done: false, stop: false, error: undefined as unknown }
  try {
    const spool = (file = await open(join(dir, 'file'), 'w+'))
    const writing = fill(db, actAs, wanted, spool, state, () => wake.notify())
      .catch((error: unknown) => {
        state.error = error
      })
      .finally(() => {
        state.done = true
        wake.notify()
      })
    try {
      for (let at = 0; ; ) {
        // Looked at before the size: what is written last counts too.
        const { done } = state
        if (at < state.size) {
          const { buffer, bytesRead } = await spool.read(
            Buffer.allocUnsafe(CHUNK),
            0,
            Math.min(CHUNK, state.size - at),
            at,
          )
          at += bytesRead
          yield buffer.subarray(0, bytesRead)
        } else if (done) {
          if (state.error !== undefined) throw state.error
          return
        } else await wake.wait(1_000)
      }
    } finally {
      state.stop = true
      await writing
    }
  } finally {
    await file?.close()
    await rm(dir, { recursive: true, force: true })
  }
}

async function fill(
  db: Db,
  actAs: (tx: Tx) => Promise<void>,
  wanted: StreamedExport,
  file: FileHandle,
  state: { size: number; stop: boolean },
  tell: () => void,
): Promise<void> {
  const writer = makeWriter(wanted.format, wanted.columns, wanted.safe)
  const put = async (bytes: Buffer): Promise<void> => {
    if (bytes.length === 0) return
    await file.write(bytes, 0, bytes.length, state.size)
    state.size += bytes.length
    tell()
  }
  await put(await writer.begin())
  await withTx(
    db,
    async (tx) => {
      await tx.query('set transaction read only')
      await actAs(tx)
      await eachRows(tx, wanted, async (rows) => {
        await put(await writer.rows(rows))
        return !state.stop
      })
    },
    { isolation: 'repeatable read' },
  )
  await put(await writer.end())
}
