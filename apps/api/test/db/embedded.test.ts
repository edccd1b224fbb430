import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { connect } from '../../src/db/client.ts'
import { openEmbedded } from '../../src/db/embedded.ts'
import { tryExclusive, tryShared } from '../../src/db/embedded-lock.ts'
import { preparePlace } from '../../src/db/embedded-place.ts'
import {
  checkout,
  cleanUps,
  gone,
  isAlive,
  optionsIn,
  run,
  serverPid,
  USER_PROGRAM,
  usedCheckout,
  user,
} from '../support/embedded.ts'

describe('sharing', () => {
  it('lets two processes start at once on an empty directory: one server, stopped by the last one', async () => {
    const dir = checkout()
    const [one, two] = await Promise.all([user(optionsIn(dir)), user(optionsIn(dir))])
    expect([one.said['created'], two.said['created']].sort()).toEqual([false, true])
    const pid = serverPid(dir)

    await one.close()
    expect(isAlive(pid)).toBe(true)
    expect(await run(two.said.url, 'select 1 as one')).toEqual([{ one: 1 }])
    await two.close()
    await gone(pid)
    expect(existsSync(join(optionsIn(dir).dataDir, 'data', 'postmaster.pid'))).toBe(false)
  })

  it('keeps starters and leavers apart: whoever is in has a server', async () => {
    const dir = usedCheckout()
    const work = async () => {
      for (let i = 0; i < 4; i++) {
        const server = await openEmbedded(optionsIn(dir))
        expect(await run(server.url, 'select 1 as one')).toEqual([{ one: 1 }])
        await server.close()
      }
    }
    await Promise.all([work(), work(), work()])
    expect(existsSync(join(optionsIn(dir).dataDir, 'data', 'postmaster.pid'))).toBe(false)
  })

  it('keeps the server when its only user is killed; the next one uses it and stops it', async () => {
    const dir = usedCheckout()
    const first = await user(optionsIn(dir))
    await run(first.said.url, 'create table kept (id int)')
    const pid = serverPid(dir)
    await first.kill()
    expect(isAlive(pid)).toBe(true)

    const next = await openEmbedded(optionsIn(dir))
    expect(serverPid(dir)).toBe(pid)
    expect(await run(next.url, 'select count(*) as n from kept')).toEqual([{ n: 0 }])
    await next.close()
    await gone(pid)
  })

  it('keeps a server that others use when a killed process leaves no trace', async () => {
    const dir = usedCheckout()
    const [one, two] = [await user(optionsIn(dir)), await user(optionsIn(dir))]
    await one.kill()
    expect(await run(two.said.url, 'select 1 as one')).toEqual([{ one: 1 }])
    const pid = serverPid(dir)
    await two.close()
    await gone(pid)
  })

  it('does not die with the terminal: a signal to the process group does not reach the server', async () => {
    const dir = usedCheckout()
    const first = await user(optionsIn(dir))
    const pid = serverPid(dir)
    const group = (of: number) =>
      execFileSync('ps', ['-o', 'pgid=', '-p', String(of)])
        .toString()
        .trim()
    expect(group(pid)).not.toBe(group(first.child.pid ?? 0))
    await first.close()
  })

  it('serves two checkouts at once, each its own data', async () => {
    const [here, there] = [usedCheckout(), usedCheckout()]
    const [one, two] = await Promise.all([openEmbedded(optionsIn(here)), openEmbedded(optionsIn(there))])
    await run(one.url, 'create table only_here (id int)')
    expect(await run(two.url, `select to_regclass('only_here') as found`)).toEqual([{ found: null }])
    await Promise.all([one.close(), two.close()])
  })
})

describe('recovery', () => {
  it('comes back after a kill -9 of the server, with everything that was committed', async () => {
    const dir = usedCheckout()
    const server = await openEmbedded(optionsIn(dir))
    await run(server.url, 'create table money (micros int8)')
    await run(server.url, 'insert into money select generate_series(1, 1000)')
    const pid = serverPid(dir)
    process.kill(pid, 'SIGKILL')
    await gone(pid)
    await expect(connect(server.url)).rejects.toMatchObject({ code: 'db.unreachable' })

    await server.ensureRunning()
    expect(await run(server.url, 'select count(*) as n from money')).toEqual([{ n: 1000 }])
    process.kill(serverPid(dir), 'SIGKILL')
    const next = await openEmbedded(optionsIn(dir))
    expect(await run(next.url, 'select count(*) as n from money')).toEqual([{ n: 1000 }])
    await next.close()
    await server.close()
  })

  it('starts although the pid file names a process that is no server', async () => {
    const dir = usedCheckout()
    const server = await openEmbedded(optionsIn(dir))
    const pidFile = join(optionsIn(dir).dataDir, 'data', 'postmaster.pid')
    const text = readFileSync(pidFile, 'utf8')
    await server.close()

    // After a crash of the machine: the file is there, and its pid is somebody else's.
    const other = spawn('sleep', ['60'], preparePlace(optionsIn(dir)).user ?? {})
    cleanUps.push(() => other.kill())
    writeFileSync(pidFile, text.replace(/^\d+/, String(other.pid)))
    const next = await openEmbedded(optionsIn(dir))
    expect(await run(next.url, 'select 1 as one')).toEqual([{ one: 1 }])
    await next.close()
    expect(isAlive(other.pid ?? 0)).toBe(true)
  })

  it('takes over a server whose starter was killed before it was ready', async () => {
    const dir = usedCheckout()
    const place = preparePlace(optionsIn(dir))
    const first = await openEmbedded(optionsIn(dir))
    await run(first.url, 'create table t as select generate_series(1, 300000) as n')
    process.kill(serverPid(dir), 'SIGKILL') // so that the next start has something to recover
    const child = spawn(process.execPath, [USER_PROGRAM, JSON.stringify(optionsIn(dir))], { stdio: 'ignore' })
    while (!existsSync(join(place.data, 'postmaster.pid')) || !isAlive(serverPid(dir))) await sleep(1)
    child.kill('SIGKILL')
    const next = await openEmbedded(optionsIn(dir))
    expect(await run(next.url, 'select count(*) as n from t')).toEqual([{ n: 300_000 }])
    await next.close()
    await first.close()
  })

  it('never takes an interrupted initdb for a database', async () => {
    const dir = checkout()
    const { base } = preparePlace(optionsIn(dir))
    mkdirSync(join(base, 'data.new-1', 'base'), { recursive: true })
    writeFileSync(join(base, 'data.new-1', 'PG_VERSION'), '18\n')
    const server = await openEmbedded(optionsIn(dir))
    expect(server.created).toBe(true)
    expect(readdirSync(base).filter((name) => name.startsWith('data'))).toEqual(['data'])
    await server.close()
  })

  it('refuses data of another version, and a directory that is no database', async () => {
    const dir = usedCheckout()
    await (await openEmbedded(optionsIn(dir))).close()
    const versionFile = join(optionsIn(dir).dataDir, 'data', 'PG_VERSION')
    writeFileSync(versionFile, '14\n')
    await expect(openEmbedded(optionsIn(dir))).rejects.toMatchObject({
      code: 'db.version_unsupported',
      message: expect.stringContaining('PostgreSQL 14'),
    })
    rmSync(versionFile)
    await expect(openEmbedded(optionsIn(dir))).rejects.toMatchObject({ code: 'db.version_unsupported' })
  })

  it('says what the server said when it cannot start', async () => {
    const dir = usedCheckout()
    await (await openEmbedded(optionsIn(dir))).close()
    writeFileSync(join(optionsIn(dir).dataDir, 'data', 'extra.conf'), 'shared_buffers = nonsense\n')
    await expect(openEmbedded(optionsIn(dir))).rejects.toMatchObject({
      code: 'db.embedded_failed',
      message: expect.stringContaining('shared_buffers'),
    })
  })
})

describe('locks', () => {
  it('excludes and shares between processes, and ends with the process', async () => {
    const path = join(checkout(), 'a.lock')
    const program = `import { tryShared } from ${JSON.stringify(join(import.meta.dirname, '../../src/db/embedded-lock.ts'))}
      globalThis.lock = tryShared(${JSON.stringify(path)}); console.log('in'); setInterval(() => {}, 1e6)`
    const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    await once(child.stdout, 'data')
    expect(tryExclusive(path)).toBeNull()
    const shared = tryShared(path)
    expect(shared).not.toBeNull()
    shared?.release()

    child.kill('SIGKILL')
    await once(child, 'exit')
    const alone = tryExclusive(path)
    expect(alone).not.toBeNull()
    expect(tryShared(path)).toBeNull()
    alone?.release()
  })
})
