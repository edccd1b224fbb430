/**
 * Rate: several workers share one provider account with a rate limit. How much of the allowed rate do they use, and how
 * often is the limit passed? The sandbox counts both, over every second wherever it begins.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { cancelRun } from '../apps/api/src/engine/run-acts.ts'
import { readArgs } from './support/args.ts'
import { type Fleet, makeFleet } from './support/fleet.ts'
import { markdownTable, progress, rounded, whereMeasured } from './support/report.ts'
import { expectSound, makeRun } from './support/run.ts'
import { onStage, type Stage } from './support/stage.ts'

const args = readArgs('Rate: share of an allowed rate used by several workers, and how often the limit was passed.', {
  seconds: { default: 120, help: 'how long is measured' },
  rate: { default: 50, help: 'calls a second the provider allows' },
  workers: { default: 4, help: 'worker processes' },
  'latency-ms': { default: 200, help: 'time the provider takes for an answer' },
  'warm-up': { default: 5, help: 'seconds before the measured ones' },
})

/** What the sandbox counts of eBay's calls: arrivals, those beyond the limit, the most in any second. */
type Count = Readonly<{ arrivals: number; passed: number; busiestSecond: number }>

await onStage(async (stage) => {
  const place = await stage.fresh()
  const fleet = await makeFleet(stage, place)
  await fleet.sandbox.post('/sandbox/latency', { ms: args['latency-ms'] })
  await fleet.sandbox.post('/sandbox/quota', { ebayPerSecond: args.rate })
  const inFlight = Math.ceil(args.rate * (args['latency-ms'] / 1000 + 1)) + 10
  await place.db.query('update provider_accounts set max_per_second = $1, max_in_flight = $2', [args.rate, inFlight])
  // Twice what can be asked: the run must not come to its end meanwhile.
  const products = Math.ceil(2 * args.rate * (args.seconds + args['warm-up']))
  const run = await makeRun(place.db, { products, accountId: fleet.accountId })
  await Promise.all(Array.from({ length: args.workers }, () => fleet.startWorker()))
  await untilFirst(fleet)
  await sleep(args['warm-up'] * 1000)
  const before = await count(fleet)
  const startedAt = performance.now()
  while (performance.now() - startedAt < args.seconds * 1000) {
    await sleep(Math.min(10_000, args.seconds * 1000 - (performance.now() - startedAt)))
    const { arrivals, passed } = await count(fleet)
    progress(
      `${arrivals - before.arrivals} calls after ${rounded((performance.now() - startedAt) / 1000)} s, ${passed} passed the limit`,
    )
  }
  const seconds = (performance.now() - startedAt) / 1000
  const after = await count(fleet)
  await cancelRun(place.db, run.runId)
  await fleet.stopWorkers()
  await expectSound(place.db, fleet.sandbox.url)
  await report(stage, after.arrivals - before.arrivals, seconds, await count(fleet))
})

async function count({ sandbox }: Fleet): Promise<Count> {
  const { rate } = (await sandbox.get('/sandbox/stats')) as { rate: { ebay: Count } }
  return rate.ebay
}

async function untilFirst(fleet: Fleet): Promise<void> {
  while ((await count(fleet)).arrivals === 0) await sleep(50)
}

/** `whole` counts from the first call to the last, warm-up and end included: a limit is kept always or not at all. */
async function report(stage: Stage, calls: number, seconds: number, whole: Count): Promise<void> {
  const share = calls / (args.rate * seconds)
  console.log(
    markdownTable(
      [
        'allowed, calls/s',
        'workers',
        'measured, s',
        'calls',
        'share of the rate used',
        'calls beyond the limit',
        'busiest second',
      ],
      [
        [
          args.rate,
          args.workers,
          rounded(seconds),
          calls,
          `${rounded(share * 100, 1)} %`,
          whole.passed,
          whole.busiestSecond,
        ],
      ],
    ),
  )
  console.log(
    `\nAnswers take ${args['latency-ms']} ms; verify found nothing broken, the bill included; ${await whereMeasured(stage.admin)}`,
  )
}
