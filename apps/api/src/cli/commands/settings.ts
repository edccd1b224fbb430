/** gleaner settings: the limits of an organisation, and what a new run starts with. */
import type { Command } from 'commander'
import { AppError } from '../../base/errors.ts'
import { MICROS_PER_CENT, type Micros, toMicros } from '../../base/money.ts'
import type { Queryable } from '../../db/client.ts'
import { changeHook, checkNotifyUrl, type HookChange } from '../../engine/change-hook.ts'
import { changeOrgSettings } from '../../engine/change-settings.ts'
import { checkCap } from '../../engine/create.ts'
import { type Hook, hookOf } from '../../events/outbox.ts'
import { leftOfMonth, type Month, monthOf } from '../../ledger/month.ts'
import { checkFilterSettings, type FilterSettings } from '../../matching/filters.ts'
import { readSettings, type Settings } from '../../runs/settings.ts'
import { addCommand } from '../add-command.ts'
import { badInput, type Context, withSession } from '../context.ts'
import { monthJson } from '../facts.ts'
import { count, moneyDown, moneyUp, readDollars, readWhole } from '../format.ts'

const KEYS =
  'cap, month-cap, soft, runs, min-percent, max-percent, free-shipping, located-in, notify-url, notify-secret, ' +
  'keep-evidence, keep-sellers, keep-exports, keep-audit'

/** Adds the command with its `set`. */
export function addSettings(program: Command): void {
  const group = program
    .command('settings')
    .description('the limits of an organisation: caps of a run and of a month, soft mark, runs at once, filters')
    .addHelpText(
      'after',
      `
Settings: ${KEYS}.

Examples:
  gleaner settings
  gleaner settings set cap=25 soft=80 runs=3
  gleaner settings set month-cap=200
  gleaner settings set month-cap=off
  gleaner settings set min-percent=80 max-percent=160 free-shipping=yes located-in=US
  gleaner settings set located-in=anywhere
  gleaner settings set notify-url=https://example.org/hooks/gleaner
  gleaner settings set notify-secret=new
  gleaner settings set keep-evidence=30 keep-sellers=365 keep-audit=400`,
    )
  addCommand(group, (context) =>
    withSession(context, async ({ db, actor }) => {
      const settings = await readSettings(db, actor.orgId)
      show(context, actor.orgName, { settings, ...(await besideSettings(db, actor.orgId)) })
    }),
  )
  const set = group.command('set').description('change settings').argument('<key=value...>', KEYS)
  addCommand(set, (context, [pairs]) => {
    // Before anything is opened: a slip of the finger must not make a database.
    const wanted = (pairs as string[]).map(readPair)
    const change = wanted.reduce<Change>((all, pair) => merge(all, changeOf(pair)), {})
    return withSession(context, async ({ db, actor }) => {
      const now = await readSettings(db, actor.orgId)
      const filters = { ...(now.filters as Partial<FilterSettings>), ...change.filters }
      checkFilterSettings(filters)
      const { filters: changed, hook, ...rest } = change
      const settings = await changeOrgSettings(db, actor, { ...rest, ...(changed ? { filters } : {}) })
      const notifySecret = hook ? await changeHook(db, actor.orgId, hook, actor.userId) : null
      show(context, actor.orgName, { settings, notifySecret, ...(await besideSettings(db, actor.orgId)) })
    })
  })
}

type Shown = Readonly<{
  settings: Settings
  month: Month
  hook: Hook
  /** A new one, shown this once. */
  notifySecret?: string | null
}>

async function besideSettings(db: Queryable, orgId: string): Promise<Pick<Shown, 'month' | 'hook'>> {
  return { month: await monthOf(db, orgId), hook: await hookOf(db, orgId) }
}

type Pair = Readonly<{ key: string; value: string }>
type Change = Readonly<{
  budgetCapCents?: number
  softWarningPercent?: number
  maxConcurrentRuns?: number
  monthCapMicros?: Micros | null
  keepEvidenceDays?: number
  keepSellersDays?: number
  keepExportsDays?: number
  keepAuditDays?: number
  filters?: Partial<FilterSettings>
  hook?: HookChange
}>

function readPair(text: string): Pair {
  const at = text.indexOf('=')
  if (at < 1) throw badInput(`"${text}" is not understood.`, `Write key=value; keys are ${KEYS}.`)
  return { key: text.slice(0, at).trim().toLowerCase(), value: text.slice(at + 1).trim() }
}

function merge(all: Change, one: Change): Change {
  return {
    ...all,
    ...one,
    ...(one.filters ? { filters: { ...all.filters, ...one.filters } } : {}),
    ...(one.hook ? { hook: { ...all.hook, ...one.hook } } : {}),
  }
}

function changeOf({ key, value }: Pair): Change {
  const whole = (most: number, least = 1) => readWhole(value.replace(/\s*%$/, ''), key, least, most)
  const days = (most: number, least: number) => readWhole(value.replace(/\s*d(ays?)?$/, ''), key, least, most)
  switch (key) {
    case 'cap':
      return { budgetCapCents: readCap(value) }
    case 'month-cap':
      return { monthCapMicros: /^(off|none)$/i.test(value) ? null : checked(readDollars(value)) }
    case 'soft':
      return { softWarningPercent: whole(100) }
    case 'runs':
      return { maxConcurrentRuns: whole(1000) }
    case 'min-percent':
      return { filters: { minPercent: whole(1000) } }
    case 'max-percent':
      return { filters: { maxPercent: whole(1000) } }
    case 'free-shipping':
      return { filters: { freeShipping: readYes(key, value) } }
    case 'located-in':
      return { filters: { locatedIn: /^(any|anywhere)$/i.test(value) ? null : value } }
    case 'notify-url':
      return { hook: { url: /^(off|none)$/i.test(value) ? null : checkNotifyUrl(value) } }
    case 'notify-secret':
      if (value !== 'new') throw badInput(`"${value}" is not possible for ${key}.`, 'Write notify-secret=new.')
      return { hook: { renewSecret: true } }
    case 'keep-evidence':
      return { keepEvidenceDays: days(3650, 1) }
    case 'keep-sellers':
      return { keepSellersDays: days(3650, 30) }
    case 'keep-exports':
      return { keepExportsDays: days(365, 1) }
    case 'keep-audit':
      return { keepAuditDays: days(3650, 90) }
    default:
      throw badInput(`There is no setting "${key}".`, `Settings are ${KEYS}.`)
  }
}

function readCap(value: string): number {
  const cap = readDollars(value)
  checkCap(cap)
  if (cap % MICROS_PER_CENT === 0) return cap / MICROS_PER_CENT
  throw new AppError('input.cap_invalid', `The cap of new runs is in whole cents, not ${value}.`, {
    hint: 'A single run may have a finer cap: gleaner collect --cap.',
  })
}

function checked(cap: Micros): Micros {
  checkCap(cap)
  return cap
}

function readYes(key: string, value: string): boolean {
  if (/^(yes|true|on|1)$/i.test(value)) return true
  if (/^(no|false|off|0)$/i.test(value)) return false
  throw badInput(`"${value}" is not possible for ${key}.`, 'Write yes or no.')
}

function show(context: Context, orgName: string, shown: Shown): void {
  const { settings, month, hook } = shown
  const notifySecret = shown.notifySecret ?? null
  const filters = checkFilterSettings(settings.filters as Partial<FilterSettings>)
  const cap = toMicros(settings.budgetCapCents * MICROS_PER_CENT)
  if (context.json) {
    const secret = notifySecret === null ? {} : { notifySecret }
    return context.sayJson({ organisation: orgName, ...settings, filters, month: monthJson(month), hook, ...secret })
  }
  const { paint, say } = context
  const soft = toMicros(Math.floor((cap * settings.softWarningPercent) / 100))
  const most = toMicros(cap * settings.maxConcurrentRuns)
  const row = (key: string, value: string, meaning: string) =>
    say(`  ${key.padEnd(15)}${value.padEnd(10)} ${paint.dim(meaning)}`)
  say(`${paint.bold(orgName)}: a new run starts with`)
  row('cap', moneyUp(cap), `it stops before it spends more than ${moneyUp(cap)}`)
  row('month-cap', month.capMicros === null ? 'off' : moneyUp(month.capMicros), monthWords(month))
  row('soft', `${settings.softWarningPercent} %`, `it says so when ${moneyUp(soft)} are used; nothing stops`)
  row('runs', count(settings.maxConcurrentRuns), `at once; together they can spend at most ${moneyUp(most)}`)
  row('min-percent', `${filters.minPercent} %`, 'lowest eBay price, of the Amazon price')
  row('max-percent', `${filters.maxPercent} %`, 'highest eBay price, of the Amazon price')
  row(
    'free-shipping',
    filters.freeShipping ? 'yes' : 'no',
    filters.freeShipping ? 'only listings with free shipping' : 'paid shipping too',
  )
  row('located-in', filters.locatedIn ?? 'anywhere', 'where the item is')
  row('notify-url', hook.url ?? 'off', hookWords(hook))
  const kept = (key: string, days: number, what: string) => row(key, `${count(days)} days`, what)
  kept('keep-evidence', settings.keepEvidenceDays, 'listings, prices and feedback that providers showed')
  kept('keep-sellers', settings.keepSellersDays, 'a seller, after it was last seen')
  kept('keep-exports', settings.keepExportsDays, 'files that were exported')
  kept('keep-audit', settings.keepAuditDays, 'who did what')
  if (notifySecret === null) return
  say()
  context.tell('Messages are signed with this secret. It is not shown again; notify-secret=new makes another.')
  say(`  ${notifySecret}`)
}

function hookWords(hook: Hook): string {
  if (hook.url === null) return 'told of soft marks, pauses, completed and failed runs'
  return `${count(hook.delivered)} told, ${count(hook.waiting)} waiting, ${count(hook.failed)} failed: gleaner notifications`
}

function monthWords(month: Month): string {
  const spent = `${moneyUp(month.spentMicros)} is spent this month`
  const left = leftOfMonth(month)
  if (left === null) return `for all runs of a calendar month together; ${spent}`
  return `for all runs of a calendar month together; ${spent}, ${moneyDown(left)} left`
}
