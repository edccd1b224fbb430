/**
 * How evidence is best stored: the same sightings (20 listings from 8 sellers a product) written in four layouts, in
 * batches of 200 products, and read back for one seller. docs/adr/0004 decides by these figures.
 *
 *   node bench/evidence.ts               60,000 products, two rounds
 */
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { toJson } from '../apps/api/src/base/json.ts'
import { connect, type Db } from '../apps/api/src/db/client.ts'
import { openEmbedded } from '../apps/api/src/db/embedded.ts'
import { LISTINGS, listingsOf } from './engine-world.ts'

const PRODUCTS = 60_000
const BATCH = 200
const ROUNDS = 2

const LAYOUTS = {
  'one row a listing': {
    table: `e_listing (item_id uuid not null references e_item, seller_id uuid not null references e_seller, listing_id text not null,
      title text not null, price_cents int not null, position int not null, primary key (item_id, listing_id))`,
    indexes: ['create index on e_listing (seller_id)'],
    write: `insert into e_listing select s.item_id, s.seller_id, l ->> 0, l ->> 1, (l ->> 2)::int, (l ->> 3)::int
      from e_source s cross join lateral json_array_elements(s.listings) l`,
    read: `select count(*) from e_listing where seller_id = $1`,
  },
  'one row a product and seller': {
    table: `e_pair (item_id uuid not null references e_item, seller_id uuid not null references e_seller, listings json not null,
      primary key (item_id, seller_id))`,
    indexes: ['create index on e_pair (seller_id)'],
    write: `insert into e_pair select s.item_id, s.seller_id, s.listings from e_source s`,
    read: `select count(*) from e_pair p cross join lateral json_array_elements(p.listings) where seller_id = $1`,
  },
  'the same, sellers without foreign key': {
    table: `e_loose (item_id uuid not null references e_item, seller_id uuid not null, listings json not null,
      primary key (item_id, seller_id))`,
    indexes: ['create index on e_loose (seller_id)'],
    write: `insert into e_loose select s.item_id, s.seller_id, s.listings from e_source s`,
    read: `select count(*) from e_loose p cross join lateral json_array_elements(p.listings) where seller_id = $1`,
  },
  'one row a search, sellers as array': {
    table: `e_search (item_id uuid primary key references e_item, seller_ids uuid[] not null, evidence json not null)`,
    indexes: ['create index on e_search using gin (seller_ids)'],
    write: `insert into e_search select s.item_id, array_agg(s.seller_id), json_agg(s.listings) from e_source s`,
    read: `select count(*) from e_search p
      cross join lateral json_array_elements(p.evidence -> (array_position(p.seller_ids, $1) - 1)) where seller_ids @> array[$1::uuid]`,
  },
} as const

const dataDir = await mkdtemp(join(tmpdir(), 'gleaner-bench-'))
// As root the server runs as somebody else, who has to reach it.
await chmod(dataDir, 0o755)
const embedded = await openEmbedded({ dataDir })
const db = await connect(embedded.url, { statementTimeoutMs: 0 })
try {
  await loadSource(db)
  const { rows } = await db.query<{ id: string }>(
    'select seller_id as id from e_source group by 1 order by count(*) desc, 1 offset 20 limit 1',
  )
  for (let round = 1; round <= ROUNDS; round++) {
    const table: Record<string, unknown> = {}
    for (const [name, layout] of Object.entries(LAYOUTS)) table[name] = await measure(db, layout, rows[0]?.id ?? '')
    console.log(`\nround ${round}: ${PRODUCTS} products of ${LISTINGS} listings, batches of ${BATCH}`)
    console.table(table)
  }
} finally {
  await db.close()
  await embedded.close()
  await rm(dataDir, { recursive: true, force: true })
}

async function loadSource(db: Db): Promise<void> {
  await db.query('create table e_item (id uuid primary key, n int)')
  await db.query('create table e_seller (id uuid primary key, name text unique)')
  await db.query('create unlogged table e_source (n int, item_id uuid, seller_id uuid, listings json)')
  await db.query(`insert into e_item select uuidv7(), n from generate_series(0, ${PRODUCTS - 1}) n`)
  for (let from = 0; from < PRODUCTS; from += 2000) {
    const rows: unknown[] = []
    for (let n = from; n < from + 2000; n++) {
      const bySeller = Map.groupBy(listingsOf(n), (listing) => listing.seller.username)
      for (const [seller, listings] of bySeller) {
        rows.push({ n, seller, listings: listings.map((l) => [l.listingId, l.title, l.priceCents, l.position]) })
      }
    }
    const json = [toJson(rows)]
    const recordset = 'json_to_recordset($1) as r(n int, seller text, listings json)'
    await db.query(
      `insert into e_seller select uuidv7(), seller from ${recordset} group by seller on conflict do nothing`,
      json,
    )
    await db.query(
      `insert into e_source select r.n, i.id, s.id, r.listings from ${recordset}
       join e_item i on i.n = r.n join e_seller s on s.name = r.seller`,
      json,
    )
  }
  await db.query('create index on e_source (n)')
  await db.query('create index on e_item (n)')
  await db.query('vacuum analyze')
}

type Layout = (typeof LAYOUTS)[keyof typeof LAYOUTS]

async function measure(db: Db, layout: Layout, sellerId: string): Promise<Record<string, unknown>> {
  const table = layout.table.split(' ')[0] ?? ''
  await db.query(`drop table if exists ${table}`)
  await db.query(`create table ${layout.table}`)
  for (const index of layout.indexes) await db.query(index)
  await db.query('checkpoint')
  const group = layout.write.includes('array_agg') ? 'group by s.item_id' : ''
  const startedAt = performance.now()
  for (let low = 0; low < PRODUCTS; low += BATCH) {
    await db.query(`${layout.write} where s.n >= ${low} and s.n < ${low + BATCH} ${group}`)
  }
  const seconds = (performance.now() - startedAt) / 1000
  await db.query(`vacuum analyze ${table}`)
  const size = await db.query<{ bytes: number }>(`select pg_total_relation_size('${table}') as bytes`)
  const readAt = performance.now()
  await db.query(layout.read, [sellerId])
  const readMs = performance.now() - readAt
  return {
    'products/s': Math.round(PRODUCTS / seconds),
    'bytes a product': Math.round((size.rows[0]?.bytes ?? 0) / PRODUCTS),
    'one seller read, ms': Number(readMs.toFixed(1)),
  }
}
