/**
 * Live: how long from the commit of an event to a connected client, with many viewers, while the engine books; and what the
 * viewers cost the engine. The engine, the server and the viewers are processes of their own on one machine. The moment of a
 * commit is the database's (track_commit_timestamp): taken before its record is flushed, so the flush is part of the delay.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { newId } from '../apps/api/src/base/ids.ts'
import type { Db } from '../apps/api/src/db/client.ts'
import { actorFor } from '../apps/api/src/engine/bootstrap.ts'
import { startServer } from '../apps/api/test/http/live/server-process.ts'
import { engine } from './booking/engine.ts'
import { measureRun } from './booking/measure.ts'
import type { Order, Seen } from './live/viewers.ts'
import { readArgs } from './support/args.ts'
import { markdownTable, median, progress, rounded, whereMeasured } from './support/report.ts'
import { makeAccount, makeRun } from './support/run.ts'
import { onStage, type Place, type Stage } from './support/stage.ts'

const args = readArgs('Live: from commit to a connected client, and what viewers cost the engine.', {
  viewers: { default: 50, help: 'connected clients, in a process of their own' },
  rate: { default: 1_000, help: 'products a second the engine books while delays are measured' },
  seconds: { default: 20, help: 'how long that lasts' },
  products: { default: 12_000, help: 'products of a round at full speed' },
  rounds: { default: 3, help: 'rounds at full speed, with and without viewers in turn' },
})

const VIEWERS = fileURLToPath(new URL('./live/viewers.ts', import.meta.url))
const SETTING = { processes: 1, inFlight: 800 }

type Round = Readonly<{ perSecond: number; delays: readonly number[]; seen: Seen | null }>

await onStage(
  async (stage) => {
    const paced = await measure(stage, args.rate * args.seconds, args.viewers, args.rate)
    tell(`at ${args.rate} a second`, paced)
    const alone: Round[] = []
    const watched: Round[] = []
    for (let round = 1; round <= args.rounds; round++) {
      const turns = [() => measure(stage, args.products, 0), () => measure(stage, args.products, args.viewers)]
      // In turn, so that neither always has the machine as the other left it.
      const [first, second] = round % 2 === 1 ? [0, 1] : [1, 0]
      for (const which of [first, second] as const) {
        const result = await (turns[which] as () => Promise<Round>)()
        ;(which === 0 ? alone : watched).push(result)
        tell(`round ${round}, ${which === 0 ? 'nobody watches' : `${args.viewers} viewers`}`, result)
      }
    }
    const delays = watched.flatMap(({ delays }) => delays)
    const rate = (rounds: readonly Round[]): number => rounded(median(rounds.map(({ perSecond }) => perSecond)))
    console.log(
      markdownTable(
        ['engine', 'viewers', 'products/s', 'events told', 'p50 ms', 'p95 ms', 'p99 ms', 'missing or double'],
        [
          [
            `held to ${args.rate}/s`,
            args.viewers,
            rounded(paced.perSecond),
            ...columns(paced.delays),
            paced.seen?.wrong ?? 0,
          ],
          ['full speed', 0, rate(alone), '-', '-', '-', '-', '-'],
          [
            'full speed',
            args.viewers,
            rate(watched),
            ...columns(delays),
            watched.reduce((sum, { seen }) => sum + (seen?.wrong ?? 0), 0),
          ],
        ],
      ),
    )
    console.log(
      `\n${rounded(paced.seen?.figuresPerSecond ?? 0, 2)} figures a second for each viewer; ${await whereMeasured(stage.admin)}`,
    )
  },
  { settings: 'track_commit_timestamp = on' },
)

/** One run booked to its end in a database of its own, watched by so many. */
async function measure(stage: Stage, products: number, viewers: number, rate?: number): Promise<Round> {
  const place = await stage.fresh()
  try {
    const { orgId } = await actorFor(place.db)
    const accountId = await makeAccount(place.db)
    if (rate !== undefined) {
      await place.db.query('update provider_accounts set max_per_second = $1 where id = $2', [rate, accountId])
    }
    const run = await makeRun(place.db, { products, orgId, accountId })
    const watching = viewers > 0 ? await beginWatching(place, run, await makePeople(place.db, orgId, viewers)) : null
    try {
      const { perSecond } = await measureRun(place, engine, SETTING, run)
      const seen = watching ? await watching.end() : null
      return { perSecond, seen, delays: seen ? await delaysOf(place.db, run.runId, seen) : [] }
    } finally {
      await watching?.stop()
    }
  } finally {
    await place.close()
  }
}

/** From the commit of each event to each of its arrivals, ms; of events committed after the engine began. */
async function delaysOf(db: Db, runId: string, { arrivals }: Seen): Promise<number[]> {
  const { rows } = await db.query<{ seq: number; at: number }>(
    `select seq, extract(epoch from pg_xact_commit_timestamp(xmin))::float8 * 1000 as at from collection_events
     where run_id = $1 and type = 'calls.booked'`,
    [runId],
  )
  const commits = new Map(rows.map(({ seq, at }) => [seq, at]))
  return arrivals.flatMap(([seq, at]) => {
    const committed = commits.get(seq)
    return committed === undefined ? [] : [at - committed]
  })
}

/** So many members of the organisation. */
async function makePeople(db: Db, orgId: string, count: number): Promise<string[]> {
  const ids = Array.from({ length: count }, newId)
  await db.query('insert into auth.users (id) select unnest($1::uuid[])', [ids])
  await db.query(`insert into org_members (org_id, user_id, role) select $1, unnest($2::uuid[]), 'viewer'`, [
    orgId,
    ids,
  ])
  return ids
}

async function beginWatching(place: Place, run: Readonly<{ orgId: string; runId: string }>, tokens: readonly string[]) {
  const server = await startServer(place.url)
  const child: ChildProcess = fork(VIEWERS, { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
  const failed = once(child, 'exit').then(() => Promise.reject(new Error('the viewers ended too early')))
  failed.catch(() => {})
  const say = async (message: unknown): Promise<unknown> => {
    const told = once(child, 'message')
    child.send(message as Order)
    const [answer] = (await Promise.race([told, failed])) as unknown[]
    return answer
  }
  const order: Order = { url: server.address(run), tokens }
  await say(order)
  return {
    end: async (): Promise<Seen> => {
      // The last event has a second to arrive.
      await sleep(1_000)
      return (await say('tell')) as Seen
    },
    stop: async (): Promise<void> => {
      child.kill('SIGKILL')
      await server.kill()
    },
  }
}

function tell(what: string, { perSecond, seen, delays }: Round): void {
  const [events, p50, p95, p99] = columns(delays)
  progress(`${what}: ${rounded(perSecond)} products/s${seen ? `, ${events} events, ${p50} / ${p95} / ${p99} ms` : ''}`)
}

function columns(delays: readonly number[]): [number, number, number, number] {
  const sorted = Float64Array.from(delays).sort()
  const at = (share: number): number => rounded(sorted[Math.ceil(sorted.length * share) - 1] ?? Number.NaN)
  return [delays.length, at(0.5), at(0.95), at(0.99)]
}
