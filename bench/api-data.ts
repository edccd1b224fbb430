/**
 * What the API is measured over: one organisation with a million sellers, five million sightings and two hundred runs, and a
 * smaller one beside it. Written by SQL with the triggers off, as the engine and the keeper of the list would have left it;
 * indexes are made afterwards. Ids are UUIDs of version 7 made of a number, so nothing has to be looked up.
 */

import { newId } from '../apps/api/src/base/ids.ts'
import { type Db, withTx } from '../apps/api/src/db/client.ts'
import { actorFor } from '../apps/api/src/engine/bootstrap.ts'

export type DataSize = Readonly<{ runs: number; productsPerRun: number }>

/** A million sellers: two new ones a product. Five million sightings: five sellers a product, two listings each. */
export const FULL: DataSize = { runs: 200, productsPerRun: 2_500 }

export type ApiData = Readonly<{
  orgId: string
  /** Of the other organisation, with a tenth of the first one's runs. */
  otherOrgId: string
  /** An analyst of the first organisation. */
  userId: string
  sellers: number
  sightings: number
  runIds: readonly string[]
}>

const SELLERS_A_PRODUCT = 5
const LISTINGS_A_SELLER = 2
const NEW_A_PRODUCT = 2
const FLAGS = `array['promising', 'contacted', 'rejected', 'wrong_match']`

/** `kind` tells the tables apart: 1 runs, 2 products, 3 calls, 4 sellers. */
const idOf = (kind: string, number: string): string =>
  `(lpad(to_hex(1700000000000 + ${number}), 12, '0') || '70008000' || lpad('${kind}', 12, '0'))::uuid`
/** A number from 0 to `most` - 1 that looks like chance. */
const chance = (of: string, salt: number, most: number): string =>
  `(abs(hashint8extended(${of}, ${salt}) % ${most}))::int`

const TABLES = ['sellers', 'collection_items', 'collection_sightings', 'seller_matches', 'seller_list', 'seller_marks']

/** Fills an empty, migrated database and brings its statistics up to date. */
export async function fillApiData(
  db: Db,
  size: DataSize = FULL,
  tell: (text: string) => void = () => {},
): Promise<ApiData> {
  const { userId: ownerId } = await actorFor(db)
  const [orgId, otherOrgId, userId] = [newId(), newId(), newId()]
  await db.query(`insert into auth.users (id, email) values ($1, 'analyst@bench.invalid')`, [userId])
  await db.query(`insert into orgs (id, name) values ($1, 'bench'), ($2, 'other')`, [orgId, otherOrgId])
  await db.query(`insert into org_members (org_id, user_id, role) values ($1, $2, 'analyst')`, [orgId, userId])
  const indexes = await dropIndexes(db)
  await withTx(db, async (tx) => {
    await tx.query(`set local session_replication_role = replica`)
    await tx.query(`set local work_mem = '256MB'`)
    for (const [org, tag, runs] of [
      [orgId, '', size.runs],
      [otherOrgId, '9', Math.ceil(size.runs / 10)],
    ] as const) {
      for (const [what, sql] of statements({ org, tag, runs, perRun: size.productsPerRun, ownerId })) {
        const startedAt = performance.now()
        await tx.query(sql)
        tell(`${what}: ${((performance.now() - startedAt) / 1000).toFixed(1)} s`)
      }
    }
  })
  const startedAt = performance.now()
  for (const index of indexes) await db.query(index)
  await db.query('vacuum analyze')
  await db.query('checkpoint')
  tell(`indexes and statistics: ${((performance.now() - startedAt) / 1000).toFixed(1)} s`)
  const products = size.runs * size.productsPerRun
  const { rows } = await db.query<{ id: string }>(
    'select id from collection_runs where org_id = $1 order by created_at',
    [orgId],
  )
  return {
    orgId,
    otherOrgId,
    userId,
    sellers: products * NEW_A_PRODUCT,
    sightings: products * SELLERS_A_PRODUCT * LISTINGS_A_SELLER,
    runIds: rows.map(({ id }) => id),
  }
}

/** Drops what can be made again of the filled tables; returns how. */
async function dropIndexes(db: Db): Promise<string[]> {
  const { rows } = await db.query<{ name: string; sql: string }>(
    `select i.indexrelid::regclass::text as name, pg_get_indexdef(i.indexrelid) as sql from pg_index i
     where i.indrelid = any ($1::regclass[]) and not exists (select from pg_constraint k where k.conindid = i.indexrelid)`,
    [TABLES],
  )
  for (const { name } of rows) await db.query(`drop index ${name}`)
  return rows.map(({ sql }) => sql)
}

type Part = Readonly<{ org: string; tag: string; runs: number; perRun: number; ownerId: string }>

function statements({ org, tag, runs, perRun, ownerId }: Part): [what: string, sql: string][] {
  const last = runs * perRun - 1
  const [run, item, seller] = ['1', '2', '4'].map((kind) => (number: string) => idOf(kind + tag, number)) as [
    (n: string) => string,
    (n: string) => string,
    (n: string) => string,
  ]
  const startOf = (n: string): string => `timestamptz '2025-09-01' + (${n}) * interval '2 days'`
  return [
    ['pairs', pairs(last, perRun, startOf)],
    [
      'runs',
      `insert into collection_runs (id, org_id, name, status, budget_cap_cents, cap_micros, category_ids, created_by, source,
         phase, total_items, processed_items, found_items, seller_items, new_sellers, created_at, started_at, completed_at)
       select ${run('n')}, '${org}', 'week ' || n, 'completed', 2500, 25000000, '{}', '${ownerId}', 'product_list', 'sellers',
         ${perRun}, ${perRun}, ${perRun}, s.sellers, ${perRun * NEW_A_PRODUCT}, ${startOf('n')}, ${startOf('n')},
         ${startOf('n')} + interval '1 hour'
       from generate_series(0, ${runs - 1}) n
       join (select run, count(distinct seller) as sellers from bench_pairs group by run) s on s.run = n`,
    ],
    [
      'products',
      `insert into collection_items (id, run_id, item_type, external_id, status, outcome, data, epoch, attempt, created_at, finished_at)
       select ${item('n')}, ${run(`n / ${perRun}`)}, 'amazon_product', 'B' || lpad((n::bigint * 7919 % 200000)::text, 9, '0'),
         'completed', 'found', jsonb_build_object('title', 'Product ' || n || ' with a title of usual length for a best seller',
         'priceCents', 2000), 1, 1, now(), now()
       from generate_series(0, ${last}) n on conflict do nothing`,
    ],
    [
      'sellers in runs',
      `insert into collection_items (id, run_id, item_type, external_id, status, new_to_org, created_at, finished_at)
       select gen_random_uuid(), ${run('p.run')}, 'ebay_seller', ${name('p.seller')}, 'completed',
         p.seller / ${perRun * NEW_A_PRODUCT} = p.run, now(), now()
       from (select distinct run, seller from bench_pairs) p`,
    ],
    [
      'sellers',
      `insert into sellers (id, org_id, display_name, normalized_name, platform, first_seen_run_id, last_seen_run_id,
         times_seen, feedback_score, feedback_permille, item_count, first_seen_at, last_seen_at)
       select ${seller('p.seller')}, '${org}', initcap(${name('p.seller')}), ${name('p.seller')}, 'ebay', ${run('min(p.run)')},
         ${run('max(p.run)')}, count(distinct p.run),
         case when p.seller % 50 > 0 then ${chance('p.seller::bigint', 1, 90_000)} end, 900 + p.seller % 100,
         count(*) filter (where p.run = l.run) * ${LISTINGS_A_SELLER}, min(p.at), max(p.at)
       from bench_pairs p join (select seller, max(run) as run from bench_pairs group by 1) l on l.seller = p.seller
       group by p.seller`,
    ],
    [
      'matches',
      `insert into seller_matches (seller_id, asin, org_id, likeness_percent, price_rule, ratio_low_permille,
         ratio_high_permille, first_seen_at, last_seen_at)
       select ${seller('seller')}, 'B' || lpad((n::bigint * 7919 % 200000)::text, 9, '0'), '${org}', max(likeness),
         bool_or(ratio >= 1180), min(ratio), max(ratio + 1), min(at), max(at)
       from bench_pairs group by seller, n::bigint * 7919 % 200000`,
    ],
    [
      'list',
      `insert into seller_list (seller_id, org_id, name, first_run_id, run_count, matched_count, likeness_percent_sum,
         price_rule_count, ratio_low_permille, ratio_high_permille, feedback_score, listing_count, first_seen_at, last_seen_at)
       select x.id, x.org_id, x.normalized_name, x.first_seen_run_id, x.times_seen, m.matched, m.likeness, m.rule, m.low, m.high,
         x.feedback_score, x.item_count, x.first_seen_at, x.last_seen_at
       from sellers x join (
         select seller_id, count(*)::int as matched, sum(likeness_percent)::int as likeness,
           (count(*) filter (where price_rule))::int as rule, min(ratio_low_permille) as low, max(ratio_high_permille) as high
         from seller_matches where org_id = '${org}' group by 1
       ) m on m.seller_id = x.id where x.org_id = '${org}' order by x.first_seen_at, x.id`,
    ],
    [
      'marks',
      `insert into seller_marks (seller_id, org_id, flag, flagged_at, flagged_by)
       select seller_id, org_id, (${FLAGS})[1 + ${chance('listed_seq', 2, 4)}], now(), '${ownerId}'
       from seller_list where org_id = '${org}' and ${chance('listed_seq', 3, 100)} < 3`,
    ],
    [
      'removed',
      `update seller_list set removed_at = now() where org_id = '${org}' and ${chance('listed_seq', 4, 100)} < 2`,
    ],
    ['evidence', evidence(last, item, seller)],
    ['', 'drop table bench_pairs'],
  ]
}

/** Which sellers each product has: two of its own, one of two thousand met everywhere, two of all that came before. */
function pairs(last: number, perRun: number, startOf: (n: string) => string): string {
  const earlier = (salt: number): string => `4 * (n::bigint * ${salt} % greatest(1, n / 2))`
  return `
    create temp table bench_pairs as
    select n, n / ${perRun} as run, k, seller::int as seller, ${startOf(`n / ${perRun}`)} + (n % ${perRun}) * interval '1 s' as at,
      (30 + ${chance('n::bigint * 5 + k', 5, 71)})::smallint as likeness, 800 + ${chance('n::bigint * 5 + k', 6, 800)} as ratio
    from generate_series(0, ${last}) n cross join lateral (values
      (0, 2::bigint * n), (1, 2::bigint * n + 1),
      (2, 4 * (n::bigint * 31 % least(2000, greatest(1, n / 2)))), (3, 1 + ${earlier(7919)}), (4, 3 + ${earlier(104_729)})
    ) s(k, seller)
    where k < 2 or n > 4`
}

const FIRST = `array['blue', 'north', 'quick', 'green', 'silver', 'happy', 'urban', 'prime', 'golden', 'rapid', 'sunny', 'grand',
  'smart', 'bright', 'royal', 'lucky', 'daily', 'metro', 'coastal', 'mountain', 'river', 'forest', 'star', 'moon', 'iron',
  'copper', 'velvet', 'crystal', 'eagle', 'falcon', 'tiger', 'panda', 'maple', 'cedar', 'willow', 'harbor', 'valley', 'summit',
  'ocean', 'desert']`
const SECOND = `array['deals', 'store', 'gate', 'pine', 'outlet', 'goods', 'market', 'bazaar', 'supply', 'trading', 'shop', 'mart',
  'depot', 'corner', 'house', 'works', 'direct', 'express', 'hub', 'barn', 'boutique', 'gallery', 'vault', 'finds', 'picks',
  'treasures', 'bargains', 'imports', 'exports', 'sales', 'stop', 'plus', 'world', 'zone', 'planet', 'center', 'point',
  'station', 'square', 'garden']`

function name(number: string): string {
  return `((${FIRST})[1 + ${chance(`${number}::bigint`, 7, 40)}] || (array['', '-', '_', '.'])[1 + ${number} % 4]
    || (${SECOND})[1 + ${chance(`${number}::bigint`, 8, 40)}] || ${number})`
}

function evidence(last: number, item: (n: string) => string, seller: (n: string) => string): string {
  const listing = `json_build_array((200000000000 + p.n::bigint * 10 + p.k * ${LISTINGS_A_SELLER} + l)::text,
    'Insulated Stainless Steel Travel Mug 20 oz Leakproof Lid Double Wall Vacuum Navy', 2 * p.ratio + 2 * l, p.k * ${LISTINGS_A_SELLER} + l + 1)`
  return `
    insert into collection_sightings (item_id, rung, call_id, seen_at, seller_ids, listing_counts, evidence)
    select ${item('n')}, 1, ${item('n')}, min(at), array_agg(${seller('seller')} order by k),
      array_agg(${LISTINGS_A_SELLER}::smallint order by k), json_agg(proof order by k)
    from (
      select p.n, p.k, p.at, p.seller, json_build_array(1000 + p.seller % 5000, 992,
        (select json_agg(${listing}) from generate_series(0, ${LISTINGS_A_SELLER - 1}) l)) as proof
      from bench_pairs p where p.n <= ${last}
    ) shown join collection_items i on i.id = ${item('shown.n')} group by shown.n`
}
