/**
 * Every guard, and the test that falls without it: `npm run prove -- guards` takes them away one by one and looks. To add
 * one, add an entry; a test checks that its text is still there and that docs/guards.md is up to date.
 */

import { ACCOUNTS } from './accounts.ts'
import { COMPLIANCE } from './compliance.ts'
import { DOOR } from './door.ts'
import { LIVE } from './live.ts'
import { PEOPLE } from './people.ts'
import { SENDING } from './sending.ts'
import { SIGN_IN_GUARDS } from './sign-in.ts'

/** How the guard is taken away in a copy of the repository. */
export type Removal =
  /** A text of one file is replaced; it must be there exactly once. */
  | Readonly<{ file: string; find: string; put: string }>
  /** A text of a database function, in the last migration that defines it. */
  | Readonly<{ inFunction: string; find: string; put: string }>
  /** A migration after the last one takes it away. */
  | Readonly<{ sql: string }>

export type Guard = Readonly<{
  id: string
  /** What it keeps from happening. */
  against: string
  without: Removal
  /** The test that must fail: file, and a part of its name. */
  falls: readonly [file: string, name: string]
}>

const LEDGER = 'apps/api/test/ledger'
const ENGINE = 'apps/api/test/engine'
const CONSTRAINTS = `${LEDGER}/constraints.test.ts`
const CONTENTION = `${LEDGER}/contention.test.ts`
const HOSTILE = `${LEDGER}/hostile-client.test.ts`
const MONTH = `${LEDGER}/month.test.ts`
const MONTH_PAUSE = `${ENGINE}/month-pause.test.ts`
const LATE = `${ENGINE}/late-answers.test.ts`
const OUTCOMES = `${ENGINE}/outcomes.test.ts`
const BOOKING = `${ENGINE}/booking.test.ts`
const MODEL: Guard['falls'] = [`${ENGINE}/model.test.ts`, 'random acts']

const CLAIM = 'apps/api/src/ledger/claim.ts'
const BOOK = 'apps/api/src/ledger/book.ts'
const RESCUE = 'apps/api/src/ledger/rescue.ts'
const ITEMS = 'apps/api/src/runs/items.ts'
const START = 'apps/api/src/engine/start.ts'

const drop = (trigger: string, table: string): Removal => ({ sql: `DROP TRIGGER ${trigger} ON ${table}` })
const unconstrain = (constraint: string, table: string): Removal => ({
  sql: `ALTER TABLE ${table} DROP CONSTRAINT ${constraint}`,
})

const MONEY: readonly Guard[] = [
  {
    id: 'cap-in-where',
    against: 'a hold above the cap: the statement that takes it looks at the cap itself',
    without: {
      inFunction: 'gleaner_calls_inserted',
      find: '      AND spent_micros + held_micros + suspect_micros + wanted.micros <= cap_micros;',
      put: ';',
    },
    falls: [CONSTRAINTS, 'is not passed by one hold'],
  },
  {
    id: 'cap-check',
    against: 'any row of a run beyond its cap, whoever writes it',
    without: unconstrain('collection_runs_within_cap', 'collection_runs'),
    falls: [CONSTRAINTS, 'is checked by the row itself'],
  },
  {
    id: 'claim-takes-what-fits',
    against: 'a claim of more than the cap leaves, which would fail as a whole',
    without: {
      file: CLAIM,
      find: 'least(room, greatest(left_micros, 0) / $6::bigint) end',
      put: 'room end',
    },
    falls: [CONTENTION, 'a claim takes what fits'],
  },
  {
    id: 'list-claim-takes-what-fits',
    against: 'list steps claimed beyond what the cap leaves for all of them together',
    without: { file: CLAIM, find: 'where p.upto <= run.left_micros', put: 'where true' },
    falls: [CONTENTION, 'claimers of list steps'],
  },
  {
    id: 'claim-only-running',
    against: 'a claim of a run that is not running',
    without: { inFunction: 'gleaner_calls_inserted', find: " AND status = 'running'", put: '' },
    falls: [CONSTRAINTS, 'run takes no new call'],
  },
  {
    id: 'cap-lowered',
    against: 'a cap below what is spent, held and suspect, refused in words',
    without: {
      file: 'apps/api/src/engine/run-acts.ts',
      find: 'if (capMicros < used) {',
      put: 'if (false as boolean) {',
    },
    falls: MODEL,
  },
  {
    id: 'cap-of-ended',
    against: 'another cap for a run that has ended',
    without: {
      inFunction: 'gleaner_run_update',
      find: "IF OLD.status IN ('completed', 'failed', 'cancelled') THEN",
      put: 'IF false THEN',
    },
    falls: [CONSTRAINTS, 'of an ended run stands still'],
  },
  {
    id: 'suspect-is-not-released',
    against: 'giving money back whose fate is unknown',
    without: {
      file: 'apps/api/src/engine/consequences.ts',
      find: "charge.kind === 'not_charged' ? 'released' : 'suspect'",
      put: "'released'",
    },
    falls: [LATE, 'leaves the money suspect'],
  },
  {
    id: 'charge-fits-state',
    against: 'a settled call without its charge, or a charge without a settled call',
    without: unconstrain('collection_calls_charge_fits_state', 'collection_calls'),
    falls: [CONSTRAINTS, 'has a charge exactly when it is settled'],
  },
  {
    id: 'booked-fits-state',
    against: 'a call that is booked without a time, or held with one',
    without: unconstrain('collection_calls_booked_fits_state', 'collection_calls'),
    falls: [CONSTRAINTS, 'has a charge exactly when it is settled'],
  },
  {
    id: 'breach-pauses',
    against: 'going on at a provider that charges more than its price list',
    without: {
      file: 'apps/api/src/engine/booking-loop.ts',
      find: 'const over = booked.run.breachMicros - before.breachMicros',
      put: 'const over = 0 * (booked.run.breachMicros - before.breachMicros)',
    },
    falls: [OUTCOMES, 'a price above the list'],
  },
  {
    id: 'month-cap-in-where',
    against: 'a hold above what the month leaves',
    without: {
      inFunction: 'gleaner_calls_inserted',
      find: 'OR spent_micros + held_micros + suspect_micros + deleted_micros + wanted.micros <= cap_micros);',
      put: 'OR true);',
    },
    falls: [MONTH, 'pass the cap with a statement of its own'],
  },
  {
    id: 'month-cap-check',
    against: 'any row of a month beyond its cap',
    without: unconstrain('collection_months_within_cap', 'collection_months'),
    falls: [MONTH, 'be counted beyond the cap even where the hold forgets to look'],
  },
  {
    id: 'month-kept',
    against: 'writing the money of a month by hand',
    without: drop('collection_months_kept', 'collection_months'),
    falls: [MONTH, 'write a month, whoever it is'],
  },
  {
    id: 'month-cap-lowered',
    against: 'a month cap below what is spent, held and suspect, where the row would bear it after a breach',
    without: {
      file: 'apps/api/src/engine/change-settings.ts',
      find: 'month.capMicros < usedOfMonth(month)',
      put: '(false as boolean)',
    },
    falls: [MONTH_PAUSE, 'makes no room for a lower month cap'],
  },
]

const FENCES: readonly Guard[] = [
  {
    id: 'epoch-of-item',
    against: 'a late answer that takes effect on a product that was claimed anew',
    without: { file: ITEMS, find: 'on i.id = a.id and i.epoch = a.epoch', put: 'on i.id = a.id' },
    falls: [LATE, 'a late answer'],
  },
  {
    id: 'ended-item',
    against: 'a late answer that takes effect on a product that has ended',
    without: { file: ITEMS, find: "      where i.status in ('processing', 'pending')\n", put: '' },
    falls: [`${ENGINE}/late-after-end.test.ts`, 'books its money and changes nothing'],
  },
  {
    id: 'epoch-of-category',
    against: 'a late list that takes effect on a category that was claimed anew',
    without: {
      file: 'apps/api/src/runs/categories-of-run.ts',
      find: "where id = $1 and epoch = $2 and status in ('processing', 'pending')",
      put: "where id = $1 and $2::int is not null and status in ('processing', 'pending')",
    },
    falls: [LATE, 'of a category claimed anew'],
  },
  {
    id: 'lock-unbooked',
    against: 'booking an answer twice when the answer to its COMMIT was lost',
    without: {
      file: BOOK,
      find: "where id = any($1) and state in ('held', 'suspect') for no key update",
      put: 'where id = any($1) for no key update',
    },
    falls: [LATE, 'is booked once'],
  },
  {
    id: 'release-unsent',
    against: 'leaving calls held that were never sent, when the answer to the COMMIT of their claim was lost',
    without: {
      file: 'apps/api/src/engine/claim.ts',
      find: 'if (unsent.length > 0) await withTxRetry(lane.db, (tx) => releaseUnsent(tx, unsent))',
      put: 'void unsent; void releaseUnsent',
    },
    falls: [BOOKING, 'of a claim gives back what was never sent'],
  },
  {
    id: 'release-unsent-epoch',
    against: 'taking a product from whoever claimed it meanwhile, when a call was never sent',
    without: {
      file: BOOK,
      find: "where i.id = u.item_id and i.epoch = u.epoch and i.status = 'processing'",
      put: "where i.id = u.item_id and i.status = 'processing'",
    },
    falls: [`${LEDGER}/epochs.test.ts`, 'a call that was never sent does not take'],
  },
  {
    id: 'rescue-lease',
    against: 'waiting for ever for a worker that lives and has forgotten its call',
    without: { file: RESCUE, find: 'c.lease_until < now() or ', put: '' },
    falls: [LATE, 'takes back what stopped, unknown and late workers hold'],
  },
  {
    id: 'rescue-unknown',
    against: 'waiting for ever for a worker nobody knows',
    without: { file: RESCUE, find: 'w.id is null or ', put: '' },
    falls: [LATE, 'takes back what stopped, unknown and late workers hold'],
  },
  {
    id: 'rescue-stopped',
    against: 'waiting for a worker that has left',
    without: { file: RESCUE, find: 'w.stopped_at is not null', put: 'false' },
    falls: [LATE, 'takes back what stopped, unknown and late workers hold'],
  },
  {
    id: 'rescue-heart',
    against: 'taking calls from workers that live',
    without: { file: RESCUE, find: "w.heartbeat_at < now() - ${silentMs} * interval '1 ms'", put: '${silentMs} > 0' },
    falls: [LATE, 'takes back what stopped, unknown and late workers hold'],
  },
  {
    id: 'rescue-epoch',
    against: 'giving back a product that was claimed anew',
    without: {
      file: RESCUE,
      find: "where i.id = o.item_id and i.epoch = o.epoch and i.status = 'processing'",
      put: "where i.id = o.item_id and i.status = 'processing'",
    },
    falls: [`${LEDGER}/epochs.test.ts`, 'rescuing a call does not take'],
  },
  {
    id: 'no-repeat-of-booking',
    against: 'giving up answers that were paid for, when the database is away for a moment',
    without: {
      file: 'apps/api/src/engine/lane.ts',
      find: 'if (!(error instanceof CommitUnknown) && !isConnectionError(error)) throw error',
      put: 'throw error',
    },
    falls: [BOOKING, 'a lost answer to COMMIT'],
  },
]

const STATES: readonly Guard[] = [
  {
    id: 'run-machine',
    against: 'an illegal move of a run; terminal is final',
    without: drop('collection_runs_status', 'collection_runs'),
    falls: [CONSTRAINTS, 'a run'],
  },
  {
    id: 'run-begins',
    against: 'a run that begins with money, counters or another status',
    without: drop('collection_runs_insert', 'collection_runs'),
    falls: [CONSTRAINTS, 'cannot begin as'],
  },
  {
    id: 'item-machine',
    against: 'a product that ends twice, or becomes another',
    without: drop('collection_items_illegal', 'collection_items'),
    falls: [CONSTRAINTS, 'a product'],
  },
  {
    id: 'item-begins',
    against: 'a product that begins as anything but pending or skipped',
    without: drop('collection_items_begin', 'collection_items'),
    falls: [CONSTRAINTS, 'a product'],
  },
  {
    id: 'item-outcome',
    against: 'an outcome that does not fit the status',
    without: unconstrain('collection_items_outcome_fits_status', 'collection_items'),
    falls: [CONSTRAINTS, 'has the outcome its status allows'],
  },
  {
    id: 'category-machine',
    against: 'a category that ends twice',
    without: {
      inFunction: 'gleaner_category_changed',
      find: "((was IN ('completed', 'failed') AND NEW.status <> was) OR ",
      put: '(',
    },
    falls: [CONSTRAINTS, 'a category'],
  },
  {
    id: 'call-machine',
    against: 'a call that leaves settled or released, or changes what it is',
    without: drop('collection_calls_illegal', 'collection_calls'),
    falls: [CONSTRAINTS, 'a call'],
  },
  {
    id: 'call-begins',
    against: 'a call that begins as anything but held',
    without: {
      inFunction: 'gleaner_calls_inserted',
      find: "IF EXISTS (SELECT FROM inserted WHERE state <> 'held') THEN",
      put: 'IF false THEN',
    },
    falls: [CONSTRAINTS, 'cannot begin as'],
  },
  {
    id: 'completed-by-rows',
    against: 'completing a run with something pending, processing or held',
    without: { inFunction: 'gleaner_run_status', find: "IF NEW.status = 'completed' AND (", put: 'IF false AND (' },
    falls: [CONSTRAINTS, 'proves completion by the rows'],
  },
  {
    id: 'nothing-answered-fails',
    against: 'completing a run that brought no answer at all',
    without: {
      file: 'apps/api/src/engine/settle-idle-run.ts',
      find: 'if (answered === 0 && run.failedItems > 0) {',
      put: 'if (false as boolean) {',
    },
    falls: [OUTCOMES, 'nothing but blocked'],
  },
  {
    id: 'places-locked',
    against: 'two starts that both see the last place free',
    without: {
      file: START,
      find: 'select max_concurrent_runs as most from collection_settings where org_id = $1 for update',
      put: 'select max_concurrent_runs as most from collection_settings where org_id = $1',
    },
    falls: [CONTENTION, 'exactly as many runs run as an organisation has places'],
  },
  {
    id: 'places-in-database',
    against: 'more running runs than places, whoever starts them',
    without: drop('collection_runs_take_place', 'collection_runs'),
    falls: [HOSTILE, 'are not passed by one statement for all'],
  },
  {
    id: 'place-free',
    against: 'one organisation whose places are taken standing in the way of all others',
    without: {
      file: START,
      find: "status = 'pending' and start_requested_at is not null and ${PLACE_FREE}",
      put: "status = 'pending' and start_requested_at is not null",
    },
    falls: [CONTENTION, 'does not stand in the way of another'],
  },
]

const ROWS: readonly Guard[] = [
  {
    id: 'run-kept',
    against: 'money and counters of a run written by hand',
    without: drop('collection_runs_kept', 'collection_runs'),
    falls: [CONSTRAINTS, 'a run'],
  },
  {
    id: 'run-columns',
    against: 'a worker that writes what triggers keep',
    without: { sql: 'GRANT UPDATE ON collection_runs TO service_role' },
    falls: [HOSTILE, 'from a trigger on a temporary table'],
  },
  {
    id: 'counters-add-up',
    against: 'counters that contradict each other',
    without: unconstrain('collection_runs_counts_add_up', 'collection_runs'),
    falls: [`${LEDGER}/counters.test.ts`, 'contradict the others'],
  },
  ...(['items', 'run_categories', 'calls'] as const).map(
    (rows): Guard => ({
      id: `${rows}-only-with-run`,
      against: `rows of collection_${rows} deleted alone`,
      without: drop(`collection_${rows}_only_with_run`, `collection_${rows}`),
      falls: [CONSTRAINTS, 'is never deleted but with its run'],
    }),
  ),
  {
    id: 'run-deleted',
    against: 'deleting a run whose calls may yet be charged',
    without: drop('collection_runs_delete', 'collection_runs'),
    falls: [HOSTILE, 'a run is deleted'],
  },
  {
    id: 'events-final',
    against: 'an event that changes',
    without: drop('collection_events_final', 'collection_events'),
    falls: [CONSTRAINTS, 'never change'],
  },
  {
    id: 'events-numbered',
    against: 'a gap in the numbers of events',
    without: {
      inFunction: 'gleaner_events_inserted',
      find: ' AND event_seq = told.first - 1 AND told.events = told.last - told.first + 1',
      put: '',
    },
    falls: [HOSTILE, 'are not numbered on by'],
  },
  {
    id: 'item-once',
    against: 'a product, or a seller, twice in a run',
    without: unconstrain('collection_items_unique', 'collection_items'),
    falls: [OUTCOMES, 'may name a product another list names too'],
  },
  {
    id: 'seller-once',
    against: 'a seller twice in an organisation',
    without: { sql: 'ALTER TABLE sellers DROP CONSTRAINT sellers_unique_normalized' },
    falls: [BOOKING, 'are one row each'],
  },
  {
    id: 'known-after-commit',
    against: 'an error for a seller that another booking recorded first',
    without: {
      file: 'apps/api/src/sellers/record.ts',
      find: '  await addThoseThere(tx, orgId, seen, recorded)\n',
      put: '  void addThoseThere\n',
    },
    falls: [BOOKING, 'are one row each'],
  },
  {
    id: 'row-level-security',
    against: 'reading calls of another organisation',
    without: { sql: 'ALTER TABLE collection_calls DISABLE ROW LEVEL SECURITY' },
    falls: ['apps/api/test/db/catalog.test.ts', ''],
  },
  {
    id: 'member-reads-own',
    against: 'a policy that lets every member read all runs',
    without: { sql: 'ALTER POLICY collection_runs_member_read ON collection_runs USING (true)' },
    falls: MODEL,
  },
]

const ANSWERS: readonly Guard[] = [
  ...(['ebay-browse', 'oxylabs-ebay'] as const).map(
    (adapter): Guard => ({
      id: `other-answer-${adapter}`,
      against: 'writing down sellers of a search that was answered for another product',
      without: {
        file: `apps/api/src/providers/${adapter}.ts`,
        find: 'if (isForAnother(',
        put: 'if (false && isForAnother(',
      },
      falls: ['apps/api/test/providers/other-answer.test.ts', 'an answer to another search'],
    }),
  ),
]

const source = (file: string, find: string, put: string): Removal => ({ file: `apps/api/src/${file}`, find, put })

const ESTIMATES: readonly Guard[] = [
  {
    id: 'cap-covers-at-create',
    against: 'creating a run that would surely stop at its cap',
    without: source('engine/create.ts', '  if (!sample) checkCapCovers(plan)\n', ''),
    falls: [`${ENGINE}/estimates.test.ts`, 'is refused with what it would cover'],
  },
  {
    id: 'cap-covers-at-start',
    against: 'starting one whose cap was lowered meanwhile',
    without: source('engine/start.ts', '    await checkStillCovered(tx, run)\n', ''),
    falls: [`${ENGINE}/estimates.test.ts`, 'is refused at the start as well'],
  },
  {
    id: 'month-covers-estimate',
    against: 'creating or starting a run that would surely stop at the month cap',
    without: source('engine/cap-covers.ts', 'ofMonth !== null && ofMonth < capMicros', '(false as boolean)'),
    falls: [`${ENGINE}/estimates.test.ts`, 'the nearer limit decides'],
  },
  {
    id: 'month-leaves-a-call',
    against: 'starting a run of which not one call could be made this month',
    without: source(
      'engine/start.ts',
      'if (month.capMicros !== null) checkMonthLeaves',
      'if (false as boolean) checkMonthLeaves',
    ),
    falls: [MONTH_PAUSE, 'is refused, and starts once it leaves one'],
  },
  {
    id: 'month-climbs',
    against: 'second queries for what the month leaves to first ones',
    without: source('engine/claim.ts', 'monthLeftMicros === null ? ofRun', '(true as boolean) ? ofRun'),
    falls: [MONTH_PAUSE, 'looks at what the month left after the last claim'],
  },
  {
    id: 'sample-freed-after',
    against: 'freeing what a sample held back for a run that may not go on',
    without: source(
      'engine/run-acts.ts',
      '  const resumed = await withTxRetry',
      '  await freeHeldBack(db, runId)\n  const resumed = await withTxRetry',
    ),
    falls: [`${ENGINE}/sample.test.ts`, 'that may not go on keeps holding back the rest'],
  },
  {
    id: 'sample-freed-by-lanes',
    against: 'a run that waits for ever because whoever resumed it was gone before its rest was freed',
    without: source('engine/settle-idle-run.ts', 'run.sampledAt !== null && (await', 'run.number < 0 && (await'),
    falls: [`${ENGINE}/sample.test.ts`, 'is gone on with by its lane'],
  },
  {
    id: 'sample-climbs',
    against: 'a sample that teaches nothing of second queries',
    without: source('engine/claim.ts', '  if (isSampling(run)) return left >= searchPrice\n', ''),
    falls: [`${ENGINE}/sample.test.ts`, 'is the run itself'],
  },
  {
    id: 'estimate-of-own-runs',
    against: 'an estimate that learns from another organisation',
    without: source('runs/figures.ts', 'where r.org_id = $1 and s.adapter', 'where $1::uuid is not null and s.adapter'),
    falls: [`${ENGINE}/estimates.test.ts`, 'runs never count'],
  },
  {
    id: 'capped-runs-teach-nothing',
    against: 'an estimate too low because runs at their cap asked no second query',
    without: source('runs/learn.ts', 'categories.filter((one) => !one.capped)', 'categories'),
    falls: ['apps/api/test/runs/learned-estimate.test.ts', 'of a run at its cap'],
  },
]

export const GUARDS: readonly Guard[] = [
  ...MONEY,
  ...FENCES,
  ...SENDING,
  ...STATES,
  ...ROWS,
  ...ANSWERS,
  ...PEOPLE,
  ...SIGN_IN_GUARDS,
  ...COMPLIANCE,
  ...ESTIMATES,
  ...ACCOUNTS,
  ...DOOR,
  ...LIVE,
]
