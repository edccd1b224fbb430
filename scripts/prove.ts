/**
 * `npm run prove -- <proof>`: the proofs of the suite, as long as you like. Each takes its amount and its seed, tells how far
 * it is, ends with one line that says what was done, and with status 1 and a command to repeat it when something broke.
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { inspect } from 'node:util'
import { Command, InvalidArgumentError } from 'commander'
import { contentionRound, PASSES_A_ROUND } from '../apps/api/test/proofs/contention.ts'
import { databaseRound, FAULTS_A_ROUND } from '../apps/api/test/proofs/database.ts'
import { KILLS_A_ROUND, killRound } from '../apps/api/test/proofs/kills.ts'
import { modelRound, SEQUENCES_A_ROUND } from '../apps/api/test/proofs/model.ts'
import { type Done, inRound, type Round, someSeed, sum } from '../apps/api/test/proofs/round.ts'
import { STORM_SECONDS, stormRound } from '../apps/api/test/proofs/storm.ts'
import { ZOMBIES_A_ROUND, zombieRound } from '../apps/api/test/proofs/zombies.ts'
import { makePostgresDir } from '../apps/api/test/support/postgres.ts'
import { proveGuards } from './guards/prove.ts'

const number = (text: string): number => {
  const value = Number(text)
  if (!Number.isFinite(value) || value < 0) throw new InvalidArgumentError('a number, please')
  return value
}

type Options = Readonly<{
  seed: number
  quiet: boolean
  processes: number
  /** Of a process that another one started: it does every so many-th round, beginning with this one. */
  part: number | null
}>

type Amount = Readonly<{ flag: string; about: string; usual: number; processes?: number }>
type Plan = Readonly<{ rounds: Iterable<Round>; replay: string }>

const program = new Command('prove').description('Proofs of what Gleaner promises, in any length.')

/** A command that runs rounds on a PostgreSQL of its own. */
function proof(name: string, about: string, amount: Amount, plan: (amount: number) => Plan): void {
  program
    .command(name)
    .description(about)
    .option(`--${amount.flag} <number>`, amount.about, number, amount.usual)
    .option('--seed <number>', 'seed of the first round; the next ones count on from it', number)
    .option('--processes <number>', 'rounds at the same time', number, amount.processes ?? 1)
    .option('--quiet', 'only the last line')
    .action(async (given: Record<string, unknown>) => {
      const options: Options = {
        seed: (given['seed'] as number | undefined) ?? someSeed(),
        quiet: given['quiet'] === true,
        processes: given['processes'] as number,
        part: process.env['GLEANER_PROVE_PART'] ? Number(process.env['GLEANER_PROVE_PART']) : null,
      }
      const planned = plan(given[amount.flag] as number)
      if (options.part !== null) {
        await runPart(name, planned, options)
        return
      }
      await onItsOwnServer(async () => {
        const started = performance.now()
        const many = options.processes > 1
        const done = many ? await runApart(options) : await runRounds(name, planned, options)
        summarise(name, done, options.seed, (performance.now() - started) / 1_000)
      })
    })
}

async function runRounds(name: string, { rounds, replay }: Plan, options: Options): Promise<Done> {
  const started = performance.now()
  let done: Done = { checks: 0 }
  let index = -1
  for (const round of rounds) {
    index += 1
    if (options.part !== null && index % options.processes !== options.part) continue
    const seed = options.seed + index
    const say = (line: string): void => {
      const seconds = ((performance.now() - started) / 1_000).toFixed(0)
      if (!options.quiet) console.log(`[${seconds} s, seed ${seed}] ${line}`)
    }
    const one = await inRound(round, seed, `${name} ${replay}`, say)
    done = sum(done, one)
    say(`round ${index + 1}: ${facts(one)}`)
  }
  return done
}

/** Rounds in several processes, which share the server; with what they have done together. */
async function runApart({ processes, seed }: Options): Promise<Done> {
  const parts = Array.from({ length: processes }, async (_, part) => {
    const child = fork(process.argv[1] ?? '', [...process.argv.slice(2), '--seed', String(seed)], {
      env: { ...process.env, GLEANER_PROVE_PART: String(part) },
    })
    let done: Done | null = null
    child.on('message', (message) => {
      done = message as Done
    })
    const [code] = (await once(child, 'exit')) as [number | null]
    if (code !== 0 || !done) throw new Error('a process of this proof found something broken, see above')
    return done as Done
  })
  const ends = await Promise.allSettled(parts)
  const failed = ends.find((end) => end.status === 'rejected')
  if (failed) throw failed.reason
  return ends.reduce<Done>((all, end) => (end.status === 'fulfilled' ? sum(all, end.value) : all), { checks: 0 })
}

async function runPart(name: string, plan: Plan, options: Options): Promise<void> {
  try {
    process.send?.(await runRounds(name, plan, options))
  } catch (error) {
    console.error(inspect(error, { depth: 8 }))
    process.exitCode = 1
  }
}

function facts({ checks, ...what }: Done): string {
  const done = Object.entries(what).map(([word, count]) => `${count.toLocaleString('en')} ${word}`)
  return `${done.join(', ')}; ${checks.toLocaleString('en')} checks of all invariants`
}

function summarise(name: string, done: Done, seed: number, seconds: number): void {
  console.log(`${name}: ${facts(done)}, 0 broken; first seed ${seed}; ${seconds.toFixed(0)} s`)
}

/** A PostgreSQL with the settings of production in a directory of its own, removed at the end, whatever the end. */
async function onItsOwnServer(work: () => Promise<void>): Promise<void> {
  const place = await makePostgresDir()
  process.env['GLEANER_TEST_POSTGRES_DIR'] = place.dir
  process.once('SIGINT', () => void place.remove().finally(() => process.exit(130)))
  process.once('SIGTERM', () => void place.remove().finally(() => process.exit(143)))
  try {
    await work()
  } catch (error) {
    console.error(inspect(error, { depth: 8 }))
    process.exitCode = 1
  } finally {
    await place.remove()
  }
}

/** Rounds of at most `size` until `amount` is reached. */
function* inRounds(amount: number, size: number, round: (size: number) => Round): Generator<Round> {
  for (let left = amount; left > 0; left -= size) yield round(Math.min(size, left))
}

/** The same round until the time is over, once at least. */
function* untilOver(minutes: number, round: Round): Generator<Round> {
  const end = performance.now() + minutes * 60_000
  do yield round
  while (performance.now() < end)
}

proof(
  'model',
  'Random acts compared with a plain model of what is promised, everything checked after every one.',
  { flag: 'runs', about: 'sequences of acts', usual: 10_000, processes: 2 },
  (runs) => ({
    rounds: inRounds(runs, SEQUENCES_A_ROUND, (size) => (seed) => modelRound(seed, size)),
    replay: `--processes 1 --runs ${Math.min(runs, SEQUENCES_A_ROUND)}`,
  }),
)

proof(
  'contention',
  '256 claimers on one run with a cap that moves, and runs that want places.',
  { flag: 'passes', about: 'passes', usual: 200 },
  (passes) => ({
    rounds: inRounds(passes, PASSES_A_ROUND, (size) => (seed, say) => contentionRound(seed, size, say)),
    replay: `--passes ${Math.min(passes, PASSES_A_ROUND)}`,
  }),
)

proof(
  'kills',
  'Workers killed at every named point of the flow and at random; the bill of the sandbox is the truth.',
  { flag: 'count', about: 'kills', usual: 300 },
  (count) => ({
    rounds: inRounds(count, KILLS_A_ROUND, (size) => (seed, say) => killRound(seed, size, say)),
    replay: `--count ${Math.min(count, KILLS_A_ROUND)}`,
  }),
)

proof(
  'zombies',
  'Workers frozen past their death that come back.',
  { flag: 'count', about: 'frozen workers', usual: 25 },
  (count) => ({
    rounds: inRounds(count, ZOMBIES_A_ROUND, (size) => (seed, say) => zombieRound(seed, size, say)),
    replay: `--count ${Math.min(count, ZOMBIES_A_ROUND)}`,
  }),
)

proof(
  'database',
  'Ended connections, crashes of the server and lost COMMITs under busy workers.',
  { flag: 'minutes', about: 'how long to go on', usual: 60 },
  (minutes) => ({
    rounds: untilOver(minutes, (seed, say) => databaseRound(seed, FAULTS_A_ROUND, say)),
    replay: '--minutes 0',
  }),
)

proof(
  'storm',
  'All faults of the providers at once, dying workers, an operator, caps that bite.',
  { flag: 'minutes', about: 'how long to go on', usual: 20 },
  (minutes) => ({
    rounds: untilOver(minutes, (seed, say) => stormRound(seed, STORM_SECONDS, say)),
    replay: '--minutes 0',
  }),
)

program
  .command('guards [ids...]')
  .description('Takes every guard away in a copy of the repository, and looks whether its test falls.')
  .option('--write', 'writes docs/guards.md instead')
  .option('--no-green', 'does not look first whether the tests pass with all guards in place')
  .action((ids: string[], options: { write?: boolean; green: boolean }) => {
    process.exitCode = proveGuards(ids, options) > 0 ? 1 : 0
  })

await program.parseAsync()
process.exit()
