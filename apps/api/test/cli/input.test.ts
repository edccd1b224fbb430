/** What needs no database: help, the launcher, and input that is refused before anything is opened. */
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ERRORS } from '../../src/base/errors.ts'
import { makeProgram } from '../../src/cli/program.ts'
import { gleaner, LAUNCHER, ROOT } from './support.ts'

let dir = ''
beforeAll(() => {
  dir = mkdtempSync('/tmp/gleaner-input-')
  // Root's server runs as another user: where that one cannot enter, the data would go elsewhere and nothing be seen here.
  chmodSync(dir, 0o755)
})
afterAll(() => rmSync(dir, { recursive: true, force: true }))

const commands = makeProgram().commands.flatMap((command) => [
  [command.name()],
  ...command.commands.map((sub) => [command.name(), sub.name()]),
])

describe('help', () => {
  it('names every command, the exit statuses and the first steps', async () => {
    const { status, out } = await gleaner(['--help'])
    expect(status).toBe(0)
    for (const [name] of commands) expect(out).toMatch(new RegExp(`^  ${name}\\b`, 'm'))
    expect(out).toContain('Exit status: 0 done')
    expect(out).toContain('gleaner collect kitchen/289742 --cap 5')
  })

  it.each(['start', 'collect', 'sellers export', 'run cap', 'settings'])(
    'of %s teaches with examples',
    async (command) => {
      const { status, out } = await gleaner([...command.split(' '), '--help'])
      expect(status).toBe(0)
      expect(out).toContain('Examples:\n')
    },
  )

  it('is what docs/cli.md describes: every command and every option', () => {
    const docs = readFileSync(join(ROOT, 'docs', 'cli.md'), 'utf8')
    for (const command of commands) expect(docs).toContain(`gleaner ${command.join(' ')}`)
    const all = makeProgram().commands.flatMap((command) => [command, ...command.commands])
    const options = all.flatMap((command) => command.options.map((option) => option.long ?? ''))
    for (const option of new Set(options)) expect(docs).toContain(`\`${option}`)
  })
})

describe('docs/errors.md', () => {
  it('has every code of the catalogue with its exit status and that of the API, and no other', () => {
    const docs = readFileSync(join(ROOT, 'docs', 'errors.md'), 'utf8')
    const rows = [...docs.matchAll(/^\| `([a-z]+\.[a-z_]+)` \| (\d) \| (\d{3}) \| .{10,} \| .{10,} \|$/gm)]
    const documented = rows.map(([, code = '', exit, status]) => [code, { exit: Number(exit), status: Number(status) }])
    expect(Object.fromEntries(documented)).toEqual(ERRORS)
  })
})

describe('the launcher', () => {
  it('runs from any directory and through a chain of symbolic links', async () => {
    symlinkSync(LAUNCHER, join(dir, 'first'))
    symlinkSync('first', join(dir, 'second'))
    const { status, out } = await gleaner(['--version'], { program: join(dir, 'second'), cwd: '/tmp' })
    expect([status, out.trim()]).toEqual([0, JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')).version])
  })

  it('says what to do when nothing is installed', async () => {
    copyFileSync(LAUNCHER, join(dir, 'gleaner'))
    const { status, err } = await gleaner(['runs'], { program: join(dir, 'gleaner') })
    expect(status).toBe(5)
    expect(err).toContain('npm ci')
  })
})

type Case = Readonly<{ args: string[]; status: number; says: string[] }>
const CASES: readonly Case[] = (
  [
    [['colect'], 2, 'Did you mean collect?'],
    [['collect', '--capp', '5'], 2, 'Did you mean --cap?'],
    [['run', 'cap', 'last'], 2, "required argument 'dollars'"],
    [['runs', '--limit', '-3'], 2, 'from 1 to 10,000'],
    [['collect'], 2, 'Nothing was named to collect', 'input.list_empty'],
    [['collect', 'kitchenn'], 2, 'near:', 'kitchen (Kitchen & Dining)', 'input.category_unknown'],
    [['collect', 'Music'], 2, 'software/497022 (Software > Music)', 'Use the key', 'input.category_ambiguous'],
    [['collect', 'kitchen', '--cap', '-5'], 2, '-$5.00 is not possible', 'input.cap_invalid'],
    [
      ['collect', 'kitchen', '--cap', '5000000'],
      2,
      '$5,000,000.00 is not possible',
      '$1,000,000.00',
      'input.cap_invalid',
    ],
    [['collect', 'kitchen', '--cap', 'much'], 2, '"much" is not an amount of dollars', 'input.cap_invalid'],
    [['collect', 'kitchen', '--products', '/nowhere.csv'], 2, 'either categories or a product list'],
    [['collect', '--products', '/nowhere.csv'], 2, 'there is no such file', 'input.file_unreadable'],
    [['settings', 'set', 'colour=red'], 2, 'There is no setting "colour"'],
    [['accounts', 'add', 'Sandbox!', '--adapter', 'keepa'], 2, 'is not possible as a name'],
  ] as const
).map(([args, status, ...says]) => ({ args: [...args], status, says }))

describe('input that is refused', () => {
  it.each(CASES)('$args ends with $status and says what to do, and makes nothing', async ({ args, status, says }) => {
    const data = join(dir, 'never')
    const ended = await gleaner(['--data-dir', data, ...args])
    expect({ status: ended.status, out: ended.out }).toEqual({ status, out: '' })
    for (const words of says) expect(ended.err).toContain(words)
    expect(existsSync(data)).toBe(false)
  })

  it('is told as JSON with --json, also what could not be parsed', async () => {
    for (const args of [
      ['--json', 'colect'],
      ['collect', '--json'],
      ['collect', '--capp', '--json'],
    ]) {
      const { err, status } = await gleaner(args)
      expect(status).toBe(2)
      expect(JSON.parse(err)).toMatchObject({
        error: { code: expect.stringMatching(/^input\./), message: expect.any(String) },
      })
    }
  })

  it('names a list that is empty, unusable or too large', async () => {
    const file = (name: string, text: string) => {
      writeFileSync(join(dir, name), text)
      return join(dir, name)
    }
    const large = file('large.csv', 'asin,title,price\n')
    truncateSync(large, 200 * 1024 * 1024)
    const expected = [
      [file('empty.csv', ''), 'input.list_empty'],
      [file('header.csv', 'asin,title,price\n'), 'input.list_empty'],
      [file('bad.csv', 'asin,title,price\nx,y,z\n'), 'input.list_invalid'],
      [large, 'input.list_too_large'],
    ] as const
    for (const [path, code] of expected) {
      const { err, status } = await gleaner(['collect', '--products', path])
      expect(status).toBe(2)
      expect(err).toContain(`(${code})`)
    }
    rmSync(large)
  })
})

describe('a database that cannot be used', () => {
  it('is told without the password', async () => {
    const secret = 'pw-that-must-not-show'
    for (const [url, code, status] of [
      [`postgresql://u:${secret}@127.0.0.1:1/x`, 'db.unreachable', 5],
      [`mysql://u:${secret}@127.0.0.1/x`, 'db.url_invalid', 2],
    ] as const) {
      const ended = await gleaner(['--data-dir', join(dir, 'never'), '--debug', 'runs'], { env: { DATABASE_URL: url } })
      expect(ended.status).toBe(status)
      expect(ended.err).toContain(`(${code})`)
      expect(ended.err + ended.out).not.toContain(secret)
    }
  })
})

it('leaves nothing in the directory it was started from', () => expect(readdirSync(dir)).not.toContain('.gleaner'))
