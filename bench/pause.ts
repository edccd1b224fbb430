/**
 * Pause: how long after the commit of a pause does the last request arrive at the provider? Several worker processes share a
 * run at full speed; answers come at once, so that what is in flight at the commit does not count.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { cancelRun, pauseRun, resumeRun } from '../apps/api/src/engine/run-acts.ts'
import { readArgs } from './support/args.ts'
import { type Fleet, makeFleet } from './support/fleet.ts'
import { markdownTable, progress, rounded, whereMeasured } from './support/report.ts'
import { expectSound, makeRun } from './support/run.ts'
import { onStage } from './support/stage.ts'

const args = readArgs('Pause: time from the commit of a pause to the last request at the provider.', {
  pauses: { default: 20, help: 'how often the run is paused and resumed' },
  rate: { default: 200, help: 'calls a second the account allows; a paced call waits up to 150 ms for its moment' },
  workers: { default: 3, help: 'worker processes' },
})

await onStage(async (stage) => {
  const place = await stage.fresh()
  const fleet = await makeFleet(stage, place)
  await fleet.sandbox.post('/sandbox/latency', { ms: 0 })
  await place.db.query('update provider_accounts set max_per_second = $1, max_in_flight = 200', [args.rate])
  const products = Math.ceil(args.rate * (args.pauses + 1) * 3)
  const run = await makeRun(place.db, { products, accountId: fleet.accountId })
  await Promise.all(Array.from({ length: args.workers }, () => fleet.startWorker()))
  const silences: number[] = []
  for (let pause = 1; pause <= args.pauses; pause++) {
    const seen = await lastCharge(fleet, 0)
    while ((await lastCharge(fleet, seen.seq)).count < args.rate / 2) await sleep(50)
    await pauseRun(place.db, run.runId, { reason: 'operator' })
    const committedAt = Date.now()
    await sleep(1_500)
    const last = await lastCharge(fleet, seen.seq)
    silences.push(Math.max(0, last.atMs - committedAt))
    progress(`pause ${pause}: silent after ${silences.at(-1)} ms`)
    await resumeRun(place.db, run.runId)
  }
  await cancelRun(place.db, run.runId)
  await fleet.stopWorkers()
  await expectSound(place.db, fleet.sandbox.url)
  const sorted = silences.toSorted((a, b) => a - b)
  console.log(
    markdownTable(
      ['pauses', 'workers', 'calls/s', 'median to silence', 'worst'],
      [
        [
          args.pauses,
          args.workers,
          args.rate,
          `${rounded(sorted[Math.floor(sorted.length / 2)] ?? 0)} ms`,
          `${rounded(sorted.at(-1) ?? 0)} ms`,
        ],
      ],
    ),
  )
  console.log(`\n${await whereMeasured(stage.admin)}`)
})

type Charge = Readonly<{ seq: number; at: string }>

/** The last line of the bill, and how many came after `after`. */
async function lastCharge(
  fleet: Fleet,
  after: number,
): Promise<Readonly<{ seq: number; atMs: number; count: number }>> {
  let [seq, atMs, count] = [after, 0, 0]
  for (;;) {
    const page = (await fleet.sandbox.get(`/sandbox/billing?limit=10000&after=${seq}`)) as {
      entries: readonly Charge[]
    }
    const last = page.entries.at(-1)
    if (!last) return { seq, atMs, count }
    ;[seq, atMs, count] = [last.seq, Date.parse(last.at), count + page.entries.length]
  }
}
