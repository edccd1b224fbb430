/** Runs whose accounts no worker can use: they give room to others, say what is wrong, and go on when somebody can. */
import { beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { AppError } from '../../src/base/errors.ts'
import { newId } from '../../src/base/ids.ts'
import { type Account, saveAccount, withCredentials } from '../../src/engine/accounts.ts'
import { dueChores } from '../../src/engine/chores.ts'
import { openRunLane } from '../../src/engine/open-run-lane.ts'
import { cancelRun, pauseRun } from '../../src/engine/run-acts.ts'
import { resumeDue } from '../../src/engine/start.ts'
import { pauseUnserved } from '../../src/engine/unserved.ts'
import { canUse, credentialNames } from '../../src/queue/credentials.ts'
import type { RunSnapshot } from '../../src/runs/snapshot.ts'
import { LIST_PRICE, PRICE } from './arena.ts'
import { useArena } from './use-arena.ts'

const SILENT_MS = 6_000

const arena = useArena()
/** Accounts that need credentials. */
let lists: Account
let search: Account
beforeAll(async () => {
  const live = { baseUrl: 'http://127.0.0.1:9', sandbox: false }
  const prices = { 'oxylabs.amazon_bestsellers': LIST_PRICE, 'oxylabs.ebay': PRICE }
  lists = await saveAccount(arena.db, { ...live, name: 'acme-lists', adapter: 'oxylabs', prices })
  search = await saveAccount(arena.db, {
    ...live,
    name: 'ebay2',
    adapter: 'ebay_browse',
    prices: { 'ebay.search': PRICE },
  })
})
beforeEach(async () => {
  await arena.db.query('delete from collection_workers')
  for (const { id } of await arena.rows<{ id: string }>(
    `select id from collection_runs where status in ('running', 'paused')`,
  ))
    await cancelRun(arena.db, id)
})

/** A worker that has been up for a while; `credentials` null = one of a version that does not say. */
async function worker(credentials: readonly string[] | null, upMs = 60_000): Promise<string> {
  const id = newId()
  await arena.db.query(
    `insert into collection_workers (id, name, version, credentials, started_at)
     values ($1, 'w', '0', $2, now() - $3 * interval '1 ms')`,
    [id, credentials, upMs],
  )
  return id
}
const left = (id: string, agoMs: number) =>
  arena.db.query(
    `update collection_workers set stopped_at = now(), heartbeat_at = now() - $2 * interval '1 ms' where id = $1`,
    [id, agoMs],
  )

/** A running run over 100 products; with `categories`, one list is still to be read. */
async function makeRun(accounts: { search?: Account; lists?: Account }, categories = true): Promise<RunSnapshot> {
  const run = await arena.makeRun({ products: 100, ...(categories ? { categories: ['kitchen'] } : {}) })
  await arena.fresh.db.query('update collection_runs set search_account_id = $2, list_account_id = $3 where id = $1', [
    run.id,
    (accounts.search ?? arena.search).id,
    (accounts.lists ?? arena.list).id,
  ])
  return run
}

const OF_LISTS = ['ACME_LISTS_SECRET', 'ACME_LISTS_USER']
const OF_SEARCH = ['EBAY2_SECRET', 'EBAY2_USER']

describe('a run nobody can work on', () => {
  it('pauses, says which credentials are missing, leaves its share to others, and goes on when a worker has them', async () => {
    await worker([])
    const [barred, other] = [await makeRun({ lists }), await makeRun({}, false)]
    await arena.db.query('update provider_governors set window_calls = 10')
    const room = async () =>
      (await arena.rows<{ room: number }>('select room from gleaner_room($1, $2, 100)', [arena.search.id, other.id]))[0]
        ?.room
    expect(await room()).toBe(5)
    expect(await dueChores(arena.db, { deadAfterMs: SILENT_MS, credentials: [] })).toMatchObject({ pause: true })
    expect(await pauseUnserved(arena.db, SILENT_MS)).toEqual([barred.id])
    const paused = await arena.look(barred.id)
    expect(paused).toMatchObject({ status: 'paused', pauseReason: 'provider', pauseUnserved: true, resumeAt: null })
    expect(paused.pauseNote).toBe(
      'No worker has credentials for acme-lists. Set GLEANER_ACME_LISTS_USER and GLEANER_ACME_LISTS_SECRET in the environment of a worker.',
    )
    expect(await room()).toBe(10)

    const due = () => dueChores(arena.db, { deadAfterMs: SILENT_MS, credentials: [] })
    expect(await due()).toMatchObject({ pause: false, resume: false })
    expect(await resumeDue(arena.db, SILENT_MS)).toEqual([])
    await worker(OF_LISTS, 0)
    expect(await due()).toMatchObject({ resume: true })
    expect(await resumeDue(arena.db, SILENT_MS)).toEqual([barred.id])
    expect(await arena.look(barred.id)).toMatchObject({ status: 'running', pauseUnserved: false })
    expect(await pauseUnserved(arena.db, SILENT_MS)).toEqual([])
  })

  it('is one that needs two accounts which no worker has both of', async () => {
    await worker(OF_LISTS)
    await worker(OF_SEARCH)
    const run = await makeRun({ lists, search })
    expect(await pauseUnserved(arena.db, SILENT_MS)).toEqual([run.id])
    expect((await arena.look(run.id)).pauseNote).toMatch(
      /^No worker has credentials for both acme-lists and ebay2\. Set GLE/,
    )
    await worker([...OF_LISTS, ...OF_SEARCH], 0)
    expect(await resumeDue(arena.db, SILENT_MS)).toEqual([run.id])
  })

  it.each([
    ['while no worker is up', () => Promise.resolve('')],
    ['while those that are up have only just come', () => worker([], 1_000)],
    ['while a worker can', async () => [await worker([]), await worker(OF_SEARCH)]],
    [
      'while a worker that could has only just left',
      async () => [await worker([]), await left(await worker(OF_SEARCH), 3_000)],
    ],
    ['while a worker does not say what it has', async () => [await worker([]), await worker(null)]],
  ])('is not paused %s', async (_, workers) => {
    const run = await makeRun({ search }, false)
    await workers()
    expect(await dueChores(arena.db, { deadAfterMs: SILENT_MS, credentials: [] })).toMatchObject({ pause: false })
    expect(await pauseUnserved(arena.db, SILENT_MS)).toEqual([])
    expect(await arena.look(run.id)).toMatchObject({ status: 'running' })
  })

  it('is none when only the lists need what is missing, and they are read', async () => {
    await worker([])
    const run = await makeRun({ lists }, false)
    expect(await pauseUnserved(arena.db, SILENT_MS)).toEqual([])
    const lane = await openRunLane({
      db: arena.db,
      env: {},
      workerId: newId(),
      run: await arena.look(run.id),
      log: () => {},
    })
    expect(lane.list).toBeNull()
  })

  it('is not resumed when a person, or anything else, had paused it', async () => {
    await worker(OF_SEARCH)
    const run = await makeRun({ search }, false)
    await pauseRun(arena.db, run.id, { reason: 'provider', note: 'The price is gone.' })
    expect(await resumeDue(arena.db, SILENT_MS)).toEqual([])
  })
})

describe('credentials', () => {
  it('are told by name, never by value', () => {
    const env = { GLEANER_A_B_USER: 'u', GLEANER_A_B_SECRET: 's', GLEANER_C_USER: '', GLEANER_LOG: 'x', A_SECRET: 'y' }
    expect(credentialNames(env)).toEqual(['A_B_SECRET', 'A_B_USER'])
  })

  it('are judged in the database as in the process that has them', async () => {
    const names = ['acme', 'acme-2', 'acme-lists'] as const
    const adapters = ['ebay_browse', 'oxylabs', 'keepa'] as const
    const env = (...variables: string[]) => Object.fromEntries(variables.map((name) => [`GLEANER_${name}`, 'x']))
    const envs = [
      {},
      env('ACME_SECRET'),
      env('ACME_USER'),
      env('ACME_USER', 'ACME_SECRET'),
      env('ACME_2_USER', 'ACME_2_SECRET'),
      env('ACME_LISTS_SECRET', 'ACME_USER'),
    ]
    for (const name of names)
      for (const adapter of adapters)
        for (const sandbox of [true, false])
          for (const variables of envs) {
            const account = { name, adapter, sandbox, baseUrl: '', prices: {} } as Account
            const [row] = await arena.rows<{ can: boolean }>(
              `select ${canUse('$1::text[]')} as can from (select gen_random_uuid() as id, $2::text as name, $3::text as adapter, $4::boolean as sandbox) a`,
              [credentialNames(variables), name, adapter, sandbox],
            )
            expect([account, variables, row?.can]).toEqual([account, variables, has(account, variables)])
          }
  })
})

function has(account: Account, env: NodeJS.ProcessEnv): boolean {
  try {
    withCredentials(account, env)
    return true
  } catch (error) {
    if (error instanceof AppError && error.code === 'provider.no_credentials') return false
    throw error
  }
}
