import { execFileSync } from 'node:child_process'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { connect } from '../../src/db/client.ts'
import { openEmbedded } from '../../src/db/embedded.ts'
import { preparePlace } from '../../src/db/embedded-place.ts'
import { stopServer } from '../../src/db/embedded-server.ts'
import { runtimeError } from '../../src/db/errors.ts'
import { packageFromEnvironment } from '../support/postgres.ts'

const mounts: string[] = []
afterEach(async () => {
  for (const dir of mounts.splice(0)) {
    await stopServer(preparePlace({ dataDir: dir, ...packageFromEnvironment() })).catch(() => {})
    execFileSync('umount', ['-l', dir])
    rmSync(dir, { recursive: true, force: true })
  }
})

/** Why a small disk cannot be had here, or null. */
function cannotMount(): string | null {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'needs root on Linux to mount a small disk'
  const dir = mkdtempSync('/tmp/gleaner-mount-')
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', dir], { stdio: 'ignore' })
    execFileSync('umount', [dir])
    return null
  } catch {
    return 'this machine does not let root mount a small disk'
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}

function smallDisk(megabytes: number): string {
  const dir = mkdtempSync('/tmp/gleaner-disk-')
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m`, 'tmpfs', dir])
  mounts.push(dir)
  chmodSync(dir, 0o755)
  return dir
}

/** Leaves no byte. */
function fill(dir: string): void {
  try {
    writeFileSync(join(dir, 'filler'), Buffer.alloc(256 * 1024 * 1024))
  } catch (error) {
    expect(error).toMatchObject({ code: 'ENOSPC' })
  }
}

const reason = cannotMount()

describe.skipIf(reason !== null)(`a full disk${reason ? ` (skipped: ${reason})` : ''}`, () => {
  it('refuses to begin without enough space, and says how much is missing', async () => {
    const dataDir = smallDisk(8)
    await expect(openEmbedded({ dataDir, ...packageFromEnvironment() })).rejects.toMatchObject({
      code: 'db.disk_full',
      message: expect.stringMatching(/7 MB free|8 MB free/),
      hint: expect.stringContaining('200 MB'),
    })
  })

  it('refuses when the space runs out while the database is made, and leaves nothing behind', async () => {
    const dataDir = smallDisk(8)
    const options = { dataDir, spaceNeeded: 0, ...packageFromEnvironment() }
    await expect(openEmbedded(options)).rejects.toMatchObject({ code: 'db.disk_full' })
    expect(execFileSync('ls', [dataDir]).toString()).not.toContain('data')
  })

  it('refuses to start on a full disk, and starts when there is room again', async () => {
    const dataDir = smallDisk(80)
    const options = { dataDir, spaceNeeded: 0, ...packageFromEnvironment() }
    await (await openEmbedded(options)).close()
    fill(dataDir)
    await expect(openEmbedded(options)).rejects.toMatchObject({ code: 'db.disk_full' })
    rmSync(join(dataDir, 'filler'))
    await (await openEmbedded(options)).close()
  })

  it('names the reason when the disk fills up under a running server', async () => {
    const dataDir = smallDisk(80)
    const server = await openEmbedded({ dataDir, spaceNeeded: 0, ...packageFromEnvironment() })
    const db = await connect(server.url, { max: 1 })
    await db.query('create unlogged table filler (text text)') // unlogged: a full log would stop the server instead
    fill(dataDir)
    const error = await db
      .query(`insert into filler select repeat(md5(n::text), 20) from generate_series(1, 200000) as n`)
      .catch((caught: unknown) => caught)
    expect(runtimeError(error, server.url)).toMatchObject({ code: 'db.disk_full' })
    rmSync(join(dataDir, 'filler'))
    expect((await db.query('select count(*) as n from filler')).rows).toEqual([{ n: 0 }])
    await db.close()
    await server.close()
  })
})
