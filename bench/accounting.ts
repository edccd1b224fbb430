/**
 * Accounting alone: holds plus settlements a second, through the ledger's own claim and booking, in batches as a busy
 * engine makes them. No evidence, no sellers, no events; a call counts once it is held and settled, each in a committed
 * transaction. On one run, whose row every transaction changes, and on many organisations with a run each.
 */
import { newId } from '../apps/api/src/base/ids.ts'
import { connect, type Db, withTxRetry } from '../apps/api/src/db/client.ts'
import { bookCalls, type CallBooking } from '../apps/api/src/ledger/book.ts'
import { claimItems } from '../apps/api/src/ledger/claim.ts'
import { numbersOf, readArgs } from './support/args.ts'
import { beginProfile, PROFILE_SETTINGS, readProfile } from './support/profile.ts'
import { markdownTable, median, progress, rounded, whereMeasured } from './support/report.ts'
import { type BenchRun, makeAccount, makeRun, makeWorker, PRICE } from './support/run.ts'
import { onStage, type Stage } from './support/stage.ts'

const args = readArgs('Accounting alone: holds plus settlements a second on one run and on many organisations.', {
  calls: { default: 60_000, help: 'calls of one round' },
  orgs: { default: 64, help: 'organisations of the second half, a run each' },
  batches: { default: '200,500,800', help: 'calls held or settled in one transaction, values to compare' },
  connections: { default: '2,4', help: 'connections of the one process, values to compare' },
  rounds: { default: 3, help: 'rounds; the order of the variants turns from round to round' },
  profile: { default: 'no', help: 'yes: tell where the server spends its time, after the table' },
})
/** The measure of the issue, on one run. */
const TARGET = 15_000

type Variant = Readonly<{ runs: number; batch: number; connections: number }>
type Measured = Readonly<{ perSecond: number; cpu: number }>

await onStage(
  async (stage) => {
    const found = new Map<Variant, Measured[]>(variants().map((variant) => [variant, []]))
    for (let round = 0; round < args.rounds; round++) {
      for (const variant of rotated([...found.keys()], round)) {
        const measured = await measure(stage, variant)
        found.get(variant)?.push(measured)
        progress(`round ${round + 1}, ${name(variant)}: ${Math.round(measured.perSecond)} calls/s`)
      }
    }
    report(found)
    console.log(`\n${args.calls} calls, ${args.rounds} rounds; ${await whereMeasured(stage.admin)}`)
  },
  args.profile === 'yes' ? { settings: PROFILE_SETTINGS } : {},
)

function variants(): Variant[] {
  return [1, args.orgs].flatMap((runs) =>
    numbersOf('batches', args.batches).flatMap((batch) =>
      numbersOf('connections', args.connections).map((connections) => ({ runs, batch, connections })),
    ),
  )
}

function rotated<T>(list: readonly T[], by: number): T[] {
  const at = by % list.length
  return [...list.slice(at), ...list.slice(0, at)]
}

function name({ runs, batch, connections }: Variant): string {
  return `${runs === 1 ? 'one run' : `${runs} organisations`}, batches of ${batch}, ${connections} connections`
}

async function measure(stage: Stage, variant: Variant): Promise<Measured> {
  const place = await stage.fresh()
  const db = await connect(place.url, { name: 'gleaner bench', role: 'service_role', max: variant.connections })
  try {
    const runs = await makeRuns(place.db, variant.runs)
    const workerId = await makeWorker(place.db)
    if (args.profile === 'yes') await beginProfile(place.db)
    const cpuBefore = process.cpuUsage()
    const startedAt = performance.now()
    // One line of work per connection; with several runs, each begins at another and goes round.
    const lines = Array.from({ length: variant.connections }, (_, line) =>
      account(db, workerId, runs, line, variant.batch),
    )
    await Promise.all(lines)
    const seconds = (performance.now() - startedAt) / 1000
    const cpu = process.cpuUsage(cpuBefore)
    if (args.profile === 'yes') console.log(`\n${name(variant)}\n\n${await readProfile(place.db)}\n`)
    const calls = await checkMoney(place.db, runs)
    return { perSecond: calls / seconds, cpu: (cpu.user + cpu.system) / 1e6 / seconds }
  } finally {
    await db.close()
    await place.close()
  }
}

async function makeRuns(db: Db, count: number): Promise<BenchRun[]> {
  const accountId = await makeAccount(db)
  const runs: BenchRun[] = []
  const products = Math.ceil(args.calls / count)
  while (runs.length < count) runs.push(await makeRun(db, { products, accountId }))
  return runs
}

/** Holds and settles, a batch after the other, until no run has anything left. */
async function account(
  db: Db,
  workerId: string,
  runs: readonly BenchRun[],
  from: number,
  batch: number,
): Promise<void> {
  const left = rotated(runs, from)
  for (let at = 0; left.length > 0; ) {
    const run = left[at % left.length] as BenchRun
    const callIds = Array.from({ length: batch }, newId)
    const claim = { runId: run.runId, workerId, accountId: run.accountId, callIds, priceMicros: PRICE, leaseMs: 60_000 }
    const { claimed } = await withTxRetry(db, (tx) => claimItems(tx, claim))
    if (claimed.length === 0) left.splice(at % left.length, 1)
    else {
      await withTxRetry(db, (tx) => bookCalls(tx, claimed.map(settled)))
      at += 1
    }
  }
}

function settled({ callId }: Readonly<{ callId: string }>): CallBooking {
  return { callId, state: 'settled', chargeMicros: PRICE, outcome: 'found', durationMs: 0 }
}

/** Throws unless every product has its one call, settled, and the runs' money is that of their calls. Returns how many. */
async function checkMoney(db: Db, runs: readonly BenchRun[]): Promise<number> {
  const { rows } = await db.query<{ settled: number; spent: number; off: number }>(
    `select sum(settled_calls)::int as settled, sum(spent_micros)::bigint as spent,
       count(*) filter (where held_micros <> 0 or spent_micros <> (
         select sum(charge_micros) from collection_calls c where c.run_id = r.id and c.state = 'settled'))::int as off
     from collection_runs r`,
  )
  const wanted = runs.reduce((sum, { products }) => sum + products, 0)
  const { settled: calls, spent, off } = rows[0] ?? {}
  if (calls !== wanted || spent !== wanted * PRICE || off !== 0) {
    throw new Error(`the accounts do not agree: ${calls} of ${wanted} calls, ${spent} micro-dollars, ${off} runs off`)
  }
  return wanted
}

function report(found: ReadonlyMap<Variant, readonly Measured[]>): void {
  const rows = [...found].map(([variant, measured]) => {
    const rates = measured.map(({ perSecond }) => perSecond)
    return [
      variant.runs === 1 ? 'one run' : `${variant.runs} organisations`,
      variant.batch,
      variant.connections,
      Math.round(median(rates)),
      Math.round(Math.min(...rates)),
      rounded(median(rates) / TARGET, 2),
      rounded(median(measured.map(({ cpu }) => cpu)) * 100),
    ]
  })
  const columns = ['on', 'batch', 'connections', 'calls/s', 'worst round', `of ${TARGET}`, 'Node, % of a core']
  console.log(markdownTable(columns, rows))
}
