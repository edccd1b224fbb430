/** What is asked in bench/api.ts: every filter with its orders, one seller, counts, marks. */
import { type Db, type Tx, withTx } from '../apps/api/src/db/client.ts'
import { asMember } from '../apps/api/src/db/session.ts'
import { countView, indexMarks } from '../apps/api/src/sellers/list-count.ts'
import { listPage } from '../apps/api/src/sellers/list-page.ts'
import { readEvidence, readSeller } from '../apps/api/src/sellers/seller-detail.ts'
import { type SellerSortKey, type SellerView, SORTS } from '../apps/api/src/sellers/view.ts'
import type { ApiData } from './api-data.ts'

export type Kind = Readonly<{ name: string; limitMs: number | null; request: (tx: Tx, n: number) => Promise<unknown> }>

export type Asking = Readonly<{ data: ApiData; runs: number; samples: number; limit: number }>

/** Everything that is asked. */
export async function apiKinds(db: Db, asking: Asking): Promise<Kind[]> {
  return [...listKinds(asking), ...(await otherKinds(db, asking))]
}

/** How long each of `samples` requests took, ms, each a transaction of its own as a signed-in analyst. */
export async function timesOf(db: Db, { data, samples }: Asking, kind: Kind): Promise<number[]> {
  const times: number[] = []
  for (let n = -3; n < samples; n++) {
    const startedAt = performance.now()
    await asAnalyst(db, data, (tx) => kind.request(tx, Math.max(0, n)))
    if (n >= 0) times.push(performance.now() - startedAt)
  }
  return times
}

async function asAnalyst<T>(db: Db, { orgId, userId }: ApiData, work: (tx: Tx) => Promise<T>): Promise<T> {
  return withTx(db, async (tx) => {
    await asMember(tx, { userId, orgId })
    return work(tx)
  })
}

const DAY = 86_400_000
const WORDS = [
  'deals',
  'pine',
  'store',
  'eagle',
  'bluepine',
  'silver-vault',
  'ocean_hub',
  'treasures',
  'panda.zone',
  'desert',
]

/** Filters as the screens offer them; `n` varies what is asked for. */
function views({
  data,
  runs,
}: Asking): [name: string, view: (n: number) => SellerView, sorts: readonly SellerSortKey[]][] {
  const every = Object.keys(SORTS) as SellerSortKey[]
  const run = (n: number): string => data.runIds[(n * 37) % data.runIds.length] ?? ''
  const newest = data.runIds.at(-1) ?? ''
  const start = Date.parse('2025-09-01')
  const day = (n: number): Date => new Date(start + (n % runs) * 2 * DAY)
  const lastWeek = new Date(start + (runs - 4) * 2 * DAY)
  return [
    ['all', () => ({}), every],
    ['name holds a word', (n) => ({ search: WORDS[n % WORDS.length] ?? '' }), every],
    ['name holds digits', (n) => ({ search: String(1000 + ((n * 7919) % 9000)) }), ['score', 'name', 'last-seen']],
    ['name holds nothing known', () => ({ search: 'xqzyw' }), ['score', 'name']],
    [
      'name begins with two letters',
      (n) => ({ search: ['bl', 'no', 'zz', 'st'][n % 4] ?? '' }),
      ['score', 'first-seen'],
    ],
    ['flagged promising', () => ({ flag: ['promising'] }), every],
    ['any flag', () => ({ flag: 'any' }), ['score', 'matched', 'last-seen']],
    ['no flag', () => ({ flag: 'none' }), ['score', 'name']],
    ['matched at least 3', () => ({ matched: { from: 3 } }), every],
    ['matched at least 30', () => ({ matched: { from: 30 } }), every],
    ['score at least 60', () => ({ score: { from: 60 } }), ['matched', 'name', 'score', 'first-seen']],
    ['runs at least 3', () => ({ runs: { from: 3 } }), every],
    ['ratio 1.15 to 1.20', () => ({ ratioPermille: { from: 1150, to: 1200 } }), ['score', 'ratio', 'name', 'runs']],
    ['feedback over 80,000', () => ({ feedback: { from: 80_000 } }), ['score', 'feedback', 'last-seen']],
    ['first seen in the last week', () => ({ firstSeen: { from: lastWeek } }), every],
    ['first seen on one day', (n) => ({ firstSeen: { from: day(n), to: new Date(day(n).getTime() + DAY) } }), every],
    ['last seen before a day', (n) => ({ lastSeen: { to: day(n) } }), ['score', 'first-seen', 'last-seen', 'runs']],
    ['seen in a run', (n) => ({ runId: run(n) }), every],
    ['new in a run', (n) => ({ newInRunId: run(n) }), every],
    ['new in the last run', () => ({ newInRunId: newest }), every],
    ['removed', () => ({ removed: true }), ['score', 'name']],
    [
      'new in a run, flagged, name holds a word',
      (n) => ({ newInRunId: run(n), flag: 'any', search: 'store' }),
      ['score'],
    ],
    [
      'matched at least 3, name holds a word',
      (n) => ({ matched: { from: 3 }, search: WORDS[n % WORDS.length] ?? '' }),
      ['score', 'name'],
    ],
    ['new this week, in one run', () => ({ firstSeen: { from: lastWeek }, runs: { to: 1 } }), ['score', 'last-seen']],
    ['all but two', () => ({ except: [data.orgId, data.userId], matched: { from: 2 } }), ['score']],
  ]
}

function listKinds(asking: Asking): Kind[] {
  const { data, limit } = asking
  return views(asking).flatMap(([what, viewOf, sorts]) =>
    sorts.flatMap((sort) =>
      [true, false].map((descending) => {
        const order = { sort, descending }
        return {
          name: `list: ${what}, by ${sort} ${descending ? 'down' : 'up'}`,
          limitMs: 60,
          // First pages, the pages behind them, and back again.
          request: async (tx: Tx, n: number) => {
            const view = viewOf(n)
            const first = await listPage(tx, data.orgId, view, order, {
              limit,
              ...cursors.get(view, order, n),
            })
            cursors.keep(view, order, n, first.next ?? first.previous)
            return first
          },
        }
      }),
    ),
  )
}

/** Where a view was left, so that every other request asks for a page behind another. */
const cursors = (() => {
  const kept = new Map<string, Awaited<ReturnType<typeof listPage>>['next']>()
  const keyOf = (view: SellerView, order: object): string => JSON.stringify([view, order])
  return {
    get: (view: SellerView, order: object, n: number) => {
      const cursor = n % 2 === 1 ? kept.get(keyOf(view, order)) : undefined
      return cursor ? { cursor: n % 4 === 3 ? { ...cursor, back: true } : cursor } : {}
    },
    keep: (view: SellerView, order: object, _n: number, cursor: Awaited<ReturnType<typeof listPage>>['next']) => {
      if (cursor) kept.set(keyOf(view, order), cursor)
    },
  }
})()

async function otherKinds(db: Db, asking: Asking): Promise<Kind[]> {
  const { data, samples } = asking
  const ids = async (order: string): Promise<string[]> => {
    const { rows } = await db.query<{ id: string }>(
      `select seller_id as id from seller_list where org_id = $1 order by ${order} limit $2`,
      [data.orgId, samples],
    )
    return rows.map(({ id }) => id)
  }
  const detail = (name: string, sellers: readonly string[]): Kind => ({
    name: `seller with evidence: ${name}`,
    limitMs: 40,
    request: async (tx, n) => {
      const id = sellers[n % sellers.length] ?? ''
      return [await readSeller(tx, data.orgId, id), await readEvidence(tx, id, { limit: 50 })]
    },
  })
  const order = { sort: 'score', descending: true } as const
  const counts: Kind[] = views(asking).map(([what, viewOf]) => ({
    name: `count: ${what}`,
    limitMs: null,
    request: (tx, n) => countView(tx, data.orgId, viewOf(n)),
  }))
  return [
    detail('any', await ids('hashtext(seller_id::text)')),
    detail('those seen most', await ids('matched_count desc')),
    ...counts,
    {
      name: 'marks: all',
      limitMs: null,
      request: (tx) => indexMarks(tx, data.orgId, {}, order, data.sellers),
    },
    {
      name: 'marks: seen in a run',
      limitMs: null,
      request: async (tx, n) => {
        const view = { runId: data.runIds[n % data.runIds.length] ?? '' }
        return indexMarks(tx, data.orgId, view, order, await countView(tx, data.orgId, view))
      },
    },
  ]
}
