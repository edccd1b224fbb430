/**
 * `npm run prove -- <proof>`: the proofs of the suite, as long as you like. Each takes its amount and its seed, tells how far
 * it is, ends with one line that says what was done, and with status 1 and a command to repeat it when something broke.
 */
import { inspect } from 'node:util'
import { Command, InvalidArgumentError } from 'commander'
import { databaseRound, FAULTS_A_ROUND } from '../apps/api/test/proofs/database.ts'
import { KILLS_A_ROUND, killRound } from '../apps/api/test/proofs/kills.ts'
import { type Done, inRound, type Round, someSeed, sum } from '../apps/api/test/proofs/round.ts'
import { ZOMBIES_A_ROUND, zombieRound } from '../apps/api/test/proofs/zombies.ts'
import { makePostgresDir } from '../apps/api/test/support/postgres.ts'

const number = (text: string): number => {
  const value = Number(text)
  if (!Number.isFinite(value) || value < 0) throw new InvalidArgumentError('a number, please')
  return value
}

const program = new Command('prove').description('Proofs of what Gleaner promises, in any length.')

/** A command that runs rounds on a PostgreSQL of its own. `more` = false when enough was done. */
function proof(
  name: string,
  about: string,
  amount: Readonly<{ flag: string; about: string; usual: number }>,
  plan: (amount: number) => Readonly<{ rounds: Iterable<Round>; replay: string }>,
): void {
  program
    .command(name)
    .description(about)
    .option(`--${amount.flag} <number>`, amount.about, number, amount.usual)
    .option('--seed <number>', 'seed of the first round; the next ones count on from it', number)
    .option('--quiet', 'only the last line')
    .action(async (options: Record<string, unknown>) => {
      const first = (options['seed'] as number | undefined) ?? someSeed()
      const { rounds, replay } = plan(options[amount.flag] as number)
      await onItsOwnServer(() => runRounds(name, rounds, replay, first, options['quiet'] === true))
    })
}

async function runRounds(
  name: string,
  rounds: Iterable<Round>,
  replay: string,
  firstSeed: number,
  quiet: boolean,
): Promise<void> {
  const started = performance.now()
  let done: Done = { checks: 0 }
  let seed = firstSeed
  const say = (line: string): void => {
    if (!quiet) console.log(line)
  }
  for (const round of rounds) {
    say(`round ${seed - firstSeed + 1}, seed ${seed}`)
    done = sum(done, await inRound(round, seed, `${name} ${replay}`, (line) => say(`  ${line}`)))
    seed += 1
  }
  const seconds = (performance.now() - started) / 1_000
  const { checks, ...what } = done
  const facts = Object.entries(what).map(([word, count]) => `${count.toLocaleString('en')} ${word}`)
  console.log(
    `${name}: ${facts.join(', ')}; ${checks.toLocaleString('en')} checks of I1 to I10, 0 broken; ` +
      `seeds ${firstSeed} to ${seed - 1}; ${seconds.toFixed(0)} s`,
  )
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
    replay: '--minutes 0.1',
  }),
)

await program.parseAsync()
process.exit()
