/** gleaner doctor: is this installation healthy, and if not, what is to be done? */
import type { Command } from 'commander'
import { AppError } from '../../base/errors.ts'
import { freeSpace, SPACE_NEEDED } from '../../db/embedded-space.ts'
import { runtimeError } from '../../db/errors.ts'
import { pending } from '../../db/migrate.ts'
import { type Deps, keySource, openDeps, sandboxDir, stateDir } from '../../deps.ts'
import { openAccount } from '../../engine/account-credentials.ts'
import { type Account, listAccounts, PRICE_KINDS } from '../../engine/accounts.ts'
import { probe } from '../../providers/registry.ts'
import { loadSecrets, missingKey } from '../../secrets/installation.ts'
import { addCommand } from '../add-command.ts'
import type { Context } from '../context.ts'
import { count, counted, duration, price } from '../format.ts'
import { knownSandbox } from '../sandbox-process.ts'

type Check = Readonly<{
  name: string
  /** `idle`: not in use, and nothing is wrong with that. */
  state: 'ok' | 'idle' | 'wrong'
  found: string
  hint?: string
}>

/** Adds the command. */
export function addDoctor(program: Command): void {
  const command = program
    .command('doctor')
    .description('check Node, disk, database, clock, sandbox and every account; nothing it does costs money')
    .addHelpText('after', '\nExit status: 0 all right, 5 something has to be put right.')
  addCommand(command, async (context) => {
    const checks: Check[] = []
    const tell = (check: Check): void => {
      checks.push(check)
      if (!context.json) sayCheck(context, check)
    }
    tell(nodeCheck())
    tell(diskCheck(context))
    await checkDatabase(context, tell)
    if (context.json) context.sayJson(checks)
    const wrong = checks.filter(({ state }) => state === 'wrong').length
    if (!context.json) context.say(wrong === 0 ? '\nAll right.' : `\n${counted(wrong, 'thing')} to put right.`)
    return wrong === 0 ? 0 : 5
  })
}

function sayCheck({ paint, say }: Context, { name, state, found, hint }: Check): void {
  const mark = { ok: paint.good('✓'), idle: '–', wrong: paint.bad('✗') }[state]
  say(`  ${mark} ${name.padEnd(18)} ${found}`)
  if (hint) say(`    ${' '.repeat(18)} ${paint.dim(hint)}`)
}

function nodeCheck(): Check {
  const major = Number(process.versions.node.split('.')[0])
  const name = 'Node'
  if (major >= 24) return { name, state: 'ok', found: process.versions.node }
  return { name, state: 'wrong', found: process.versions.node, hint: 'Node 24 is needed: start it with ./gleaner.' }
}

const MB = 1024 * 1024

function diskCheck(context: Context): Check {
  const dir = stateDir(context.config)
  const free = freeSpace(dir)
  const name = 'Disk'
  const found = `${count(Math.floor(free / MB))} MB free for ${dir}`
  if (free >= SPACE_NEEDED) return { name, state: 'ok', found }
  return { name, state: 'wrong', found, hint: `At least ${count(SPACE_NEEDED / MB)} MB are needed.` }
}

async function checkDatabase(context: Context, tell: (check: Check) => void): Promise<void> {
  let deps: Deps
  try {
    deps = await openDeps({ config: context.config, schema: 'ignore', name: 'gleaner doctor', max: 2 })
  } catch (thrown) {
    const error = runtimeError(thrown, context.config.databaseUrl ?? '')
    if (!(error instanceof AppError)) throw thrown
    const hint = error.hint === undefined ? {} : { hint: error.hint }
    return tell({ name: 'Database', state: 'wrong', found: error.message, ...hint })
  }
  try {
    const { db, embedded } = deps
    const version = `${Math.trunc(db.serverVersion / 10_000)}.${db.serverVersion % 10_000}`
    tell({
      name: 'Database',
      state: 'ok',
      found: `PostgreSQL ${version}, ${embedded ? 'embedded' : 'at DATABASE_URL'}`,
    })
    tell(await schemaCheck(deps))
    tell(await clockCheck(deps))
    const { rows } = await db.query<{ accounts: boolean; key: boolean }>(
      `select to_regclass('provider_accounts') is not null as accounts, to_regclass('installation_key') is not null as key`,
    )
    const [known] = rows
    if (known?.key) deps = { ...deps, db: { ...db, secrets: await checkKey(context, deps, tell) } }
    if (known?.accounts) await checkAccounts(context, deps, tell)
  } finally {
    await deps.close()
  }
}

/** Whether this machine has the installation's key; what it can do with it. */
async function checkKey(
  context: Context,
  { db }: Deps,
  tell: (check: Check) => void,
): Promise<NonNullable<Deps['db']['secrets']> | null> {
  const source = keySource(context.config)
  const name = 'Key'
  try {
    const secrets = await loadSecrets(db, source, false)
    const { rowCount } = await db.query('select from installation_key')
    const where = source.variable === null ? source.file : 'GLEANER_KEY'
    if (secrets) tell({ name, state: 'ok', found: `${secrets.keyId}, from ${where}` })
    else if (rowCount === 0) tell({ name, state: 'idle', found: 'none yet; the first worker makes it' })
    else tell({ name, state: 'wrong', found: 'this machine does not have it', hint: missingKey().hint ?? '' })
    return secrets
  } catch (error) {
    if (!(error instanceof AppError)) throw error
    tell({ name, state: 'wrong', found: error.message, ...(error.hint ? { hint: error.hint } : {}) })
    return null
  }
}

async function schemaCheck({ db, embedded }: Deps): Promise<Check> {
  const name = 'Schema'
  try {
    const missing = await pending(db)
    if (missing.length === 0) return { name, state: 'ok', found: 'current' }
    const found = `${counted(missing.length, 'migration')} pending, from ${missing[0]?.name} on`
    if (embedded) return { name, state: 'idle', found, hint: 'The next command applies them.' }
    return { name, state: 'wrong', found, hint: 'Run gleaner migrate.' }
  } catch (error) {
    if (!(error instanceof AppError)) throw error
    return { name, state: 'wrong', found: error.message, ...(error.hint ? { hint: error.hint } : {}) }
  }
}

/** Only shown figures depend on our clock: every decision is taken by the database's. */
const SKEW_MOST_MS = 2_000

async function clockCheck({ db }: Deps): Promise<Check> {
  const before = Date.now()
  const { rows } = await db.query<{ now: Date }>('select clock_timestamp() as now')
  const skew = Math.abs((rows[0]?.now.getTime() ?? before) - (before + Date.now()) / 2)
  const found = `${duration(skew)} between this machine and the database`
  if (skew <= SKEW_MOST_MS) return { name: 'Clock', state: 'ok', found }
  return { name: 'Clock', state: 'wrong', found, hint: 'Times on the screen will be off. Let both keep time by NTP.' }
}

async function checkAccounts(context: Context, { db, embedded }: Deps, tell: (check: Check) => void): Promise<void> {
  const accounts = await listAccounts(db)
  const sandbox = await knownSandbox({ db, dir: sandboxDir(context.config), shared: embedded === null })
  tell({
    name: 'Sandbox',
    state: sandbox ? 'ok' : 'idle',
    found: sandbox ? `up at ${sandbox}` : 'not running; start and collect start it when they need it',
  })
  for (const account of accounts.filter((one) => !one.sandbox || sandbox))
    tell(await accountCheck(context, db, account))
  if (accounts.every((one) => one.sandbox)) {
    tell({ name: 'Accounts', state: 'idle', found: 'none of your own', hint: 'gleaner accounts add --help' })
  }
}

async function accountCheck(context: Context, db: Deps['db'], account: Account): Promise<Check> {
  const name = account.name
  const unpriced = PRICE_KINDS[account.adapter].filter((kind) => account.prices[kind] === undefined)
  const prices = PRICE_KINDS[account.adapter].map((kind) => `${kind} ${price(account.prices[kind])}`).join(', ')
  try {
    const answer = await probe(await openAccount(db, account, context.env))
    if (!answer.ok) return { name, state: 'wrong', found: answer.message, hint: `${answer.code}: ${account.baseUrl}` }
    const found = `${answer.note}; ${prices}`
    if (unpriced.length === 0) return { name, state: 'ok', found }
    return {
      name,
      state: 'ok',
      found,
      hint: `Calls without a price are never made: gleaner accounts price ${name} ${unpriced[0]}=…`,
    }
  } catch (error) {
    if (!(error instanceof AppError)) throw error
    return { name, state: 'wrong', found: error.message, ...(error.hint ? { hint: error.hint } : {}) }
  }
}
