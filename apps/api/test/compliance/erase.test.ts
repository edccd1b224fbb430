import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { appendAudit } from '../../src/audit/append.ts'
import { newId } from '../../src/base/ids.ts'
import { type Secrets } from '../../src/base/seal.ts'
import { insertErasure, listErasures } from '../../src/compliance/erasures.ts'
import { hasTombstones, leftOutVersion, raiseLeftOut } from '../../src/compliance/left-out.ts'
import { type Db, withTx } from '../../src/db/client.ts'
import { asMember } from '../../src/db/session.ts'
import { bookSearches } from '../../src/engine/book.ts'
import { type EraseOptions, eraseDue } from '../../src/engine/erase.ts'
import type { RunSnapshot } from '../../src/runs/snapshot.ts'
import { loadSecrets } from '../../src/secrets/installation.ts'
import { newKeyText } from '../../src/secrets/key-source.ts'
import { makeKnownSellers } from '../../src/sellers/known.ts'
import { type Arena, expectClean, found, makeArena, searchWith, work } from '../engine/arena.ts'
import { book, claim, finished } from '../engine/by-hand.ts'

let arena: Arena
let db: Db & { secrets: Secrets }
beforeAll(async () => {
  arena = await makeArena()
  const secrets = (await loadSecrets(arena.db, { variable: newKeyText(), file: '/nowhere' }, true)) as Secrets
  db = { ...arena.db, secrets }
})
afterAll(() => arena.close())
afterEach(() => expectClean(arena.db))

/** Names no other test has, and no other text contains. */
let serial = 0
const person = () => `zq-person.${++serial}-of-${process.pid}`

async function collect(
  sellers: (product: number) => readonly string[],
  input: { products?: number; orgId?: string } = {},
): Promise<RunSnapshot> {
  const run = await arena.makeRun({ products: input.products ?? 4, ...(input.orgId ? { orgId: input.orgId } : {}) })
  const search = searchWith(({ query }) =>
    found(sellers(Number(/\d+/.exec(query.kind === 'text' ? query.text : '')?.[0]))),
  )
  return work(arena, { db, run, search })
}

async function otherOrg(): Promise<string> {
  const orgId = newId()
  await arena.db.query(`insert into orgs (id, name) values ($1, 'Other')`, [orgId])
  await arena.db.query('insert into collection_settings (org_id, max_concurrent_runs) values ($1, 100)', [orgId])
  await arena.db.query(`insert into org_members (org_id, user_id, role) values ($1, $2, 'owner')`, [
    orgId,
    arena.actor.userId,
  ])
  return orgId
}

type Ask = Readonly<{ username?: string; userId?: string; notificationId?: string }>

async function askEbay({ username, userId, notificationId = newId() }: Ask): Promise<string> {
  const id = newId()
  const subject = { names: username ? [username] : [], ids: userId ? [userId] : [], sellers: [] }
  await insertErasure(db, db.secrets, { id, source: 'ebay', notificationId, orgId: null, requestedBy: null, subject })
  return id
}

async function askOwner(username: string, orgId = arena.actor.orgId): Promise<string> {
  const id = newId()
  const subject = { names: [username], ids: [], sellers: [] }
  await insertErasure(db, db.secrets, {
    id,
    source: 'owner',
    notificationId: null,
    orgId,
    requestedBy: arena.actor.userId,
    subject,
  })
  return id
}

/** What the actor, who owns it, is shown of the erasures that concern an organisation. */
const shown = (orgId: string, limit: number) =>
  withTx(db, async (tx) => {
    await asMember(tx, { userId: arena.actor.userId, orgId })
    return listErasures(tx, { limit, beside: null })
  })

const erase = (more: Partial<EraseOptions> = {}) => eraseDue({ db, log: () => {}, ...more })

/** Every row of every table of ours that says `text` somewhere, as `table: row`. */
async function traces(text: string): Promise<string[]> {
  const { rows: tables } = await arena.fresh.db.query<{ name: string }>(
    `select format('%I.%I', schemaname, tablename) as name from pg_tables
     where schemaname in ('public', 'gleaner', 'gleaner_queue', 'auth')`,
  )
  const found: string[] = []
  for (const { name } of tables) {
    const { rows } = await arena.fresh.db.query<{ row: string }>(
      `select t::text as row from ${name} t where strpos(lower(t::text), lower($1)) > 0`,
      [text],
    )
    for (const { row } of rows) found.push(`${name}: ${row}`)
  }
  return found
}

describe('erasing a seller', () => {
  it('leaves no trace of it in any table, in any organisation, and the rest as it was', async () => {
    const name = person()
    const stays = person()
    const org = await otherOrg()
    const runs = [
      await collect((n) => (n % 2 ? [name, stays] : [stays, name])),
      await collect(() => [name], { orgId: org }),
    ]
    const before = await Promise.all(runs.map((run) => arena.look(run.id)))
    expect((await traces(name)).length).toBeGreaterThan(8)

    await askEbay({ username: name, userId: 'Xy9mixedCASE' })
    expect(await erase()).toBe(1)

    expect(await traces(name)).toEqual([])
    // Its listings are its too: their ids hold the name in this arena, so they would have been found.
    const after = await Promise.all(runs.map((run) => arena.look(run.id)))
    for (const [at, run] of after.entries()) {
      const { sellerItems, newSellers, foundItems, spentMicros, eventSeq } = before[at] as RunSnapshot
      expect(run).toMatchObject({ sellerItems, newSellers, foundItems, spentMicros, eventSeq })
    }
    const rows = await arena.rows<{ ids: number; counts: number; proofs: number }>(
      `select cardinality(seller_ids) as ids, cardinality(listing_counts) as counts, json_array_length(evidence) as proofs
       from collection_sightings s join collection_items i on i.id = s.item_id where i.run_id = $1`,
      [(runs[0] as RunSnapshot).id],
    )
    expect(rows).toEqual(rows.map(() => ({ ids: 1, counts: 1, proofs: 1 })))
    expect((await traces(stays)).length).toBeGreaterThan(4)
  })

  it('keeps what the others showed beside it', async () => {
    const [name, first, last] = [person(), person(), person()]
    const run = await collect(() => [first, name, last], { products: 1 })
    await askEbay({ username: name })
    await erase()
    const rows = await arena.rows<{ name: string; listing: string }>(
      `select s.display_name as name, v.listing_id as listing from sightings v join sellers s on s.id = v.seller_id
       where v.run_id = $1 order by v.position`,
      [run.id],
    )
    expect(rows).toEqual([
      { name: first, listing: `v1|${first}|1` },
      { name: last, listing: `v1|${last}|3` },
    ])
  })

  it('does not collect it again, in any organisation; others are', async () => {
    const [name, other] = [person(), person()]
    await collect(() => [name])
    await askEbay({ username: name })
    await erase()
    const run = await collect(() => [name.toUpperCase(), other])
    const elsewhere = await collect(() => [name, other], { orgId: await otherOrg() })
    expect(await traces(name)).toEqual([])
    for (const one of [run, elsewhere])
      expect(await arena.look(one.id)).toMatchObject({ sellerItems: 1, foundItems: 4 })
  })

  it('a search that showed nobody else stays found, with nobody named', async () => {
    const name = person()
    await askEbay({ username: name })
    await erase()
    const run = await collect(() => [name])
    expect(await arena.look(run.id)).toMatchObject({ foundItems: 4, noneItems: 0, sellerItems: 0 })
  })

  it('knows it by its unchanging id under whatever name it has now', async () => {
    const [name, before] = [person(), person()]
    await collect(() => [name])
    await arena.db.query('update sellers set platform_id = $2 where normalized_name = $1', [name, `Id-${name}`])
    await askEbay({ username: before, userId: `Id-${name}` })
    await erase()
    expect(await traces(name)).toEqual([])
    await collect(() => [name])
    expect(await traces(name)).toEqual([])
  })

  it('leaves who took its name later, and has another id', async () => {
    const name = person()
    await collect(() => [name])
    await arena.db.query('update sellers set platform_id = $2 where normalized_name = $1', [name, `Id2-${name}`])
    await askEbay({ username: name, userId: `Id1-${name}` })
    await erase()
    expect(await arena.rows('select from sellers where normalized_name = $1', [name])).toHaveLength(1)
  })

  it('knows it where the provider gives its id in place of its name', async () => {
    const id = `MixedCase${++serial}${process.pid}`
    await askEbay({ username: person(), userId: id })
    await erase()
    await collect(() => [id])
    expect(await traces(id)).toEqual([])
  })

  it('takes it out of the audit log, and leaves there who did what', async () => {
    const name = person()
    await collect(() => [name])
    const [seller] = await arena.rows<{ id: string }>('select id from sellers where normalized_name = $1', [name])
    const note = `Called ${name} by phone, but not ${name}-two.`
    await withTx(db, async (tx) => {
      const entry = { orgId: arena.actor.orgId, actorId: arena.actor.userId }
      await appendAudit(tx, {
        ...entry,
        action: 'seller.flagged',
        target: `seller:${seller?.id}`,
        before: { note: 'a nice person' },
        after: { note: 'not so nice' },
        note: 'heard it somewhere',
      })
      await appendAudit(tx, {
        ...entry,
        action: 'sellers.flagged',
        target: 'sellers:bulk',
        after: { names: [name, 'x'], count: 2 },
        note,
      })
    })
    await askEbay({ username: name })
    await erase()
    expect((await traces(name)).map((row) => row.replace(`${name}-two`, ''))).toEqual([
      expect.not.stringContaining(name),
    ])
    const rows = await arena.rows<{ before: object; after: object; note: string; actor: string }>(
      `select before, after, note, actor_id as actor from audit_log where action in ('seller.flagged', 'sellers.flagged')
       and target in ($1, 'sellers:bulk') order by id desc limit 2`,
      [`seller:${seller?.id}`],
    )
    expect(rows).toEqual([
      {
        before: null,
        after: { names: ['[erased]', 'x'], count: 2 },
        note: `Called [erased] by phone, but not ${name}-two.`,
        actor: arena.actor.userId,
      },
      { before: { note: '[erased]' }, after: { note: '[erased]' }, note: '[erased]', actor: arena.actor.userId },
    ])
  })

  it('takes its files, and what others wrote of it, away', async () => {
    const [name, other] = [person(), person()]
    const { orgId, userId } = arena.actor
    await collect(() => [name, other])
    const [seller] = await arena.rows<{ id: string }>('select id from sellers where normalized_name = $1', [other])
    const file = async (state: string, startedAt: string) => {
      const id = newId()
      await arena.fresh.db.query(
        `insert into seller_exports (id, org_id, created_by, format, columns, sort, descending, state, started_at, part_count)
         values ($1, $2, $3, 'csv', '{name}', 'name', false, $4, ${startedAt}, 1)`,
        [id, orgId, userId, state],
      )
      await arena.fresh.db.query(
        `insert into seller_export_parts (export_id, number, org_id, content) values ($1, 0, $2, $3)`,
        [id, orgId, Buffer.from(name)],
      )
      return id
    }
    const [ready, running, later] = [
      await file('ready', `now() - interval '1 day'`),
      await file('running', 'now()'),
      await file('ready', `now() + interval '1 hour'`),
    ]
    await arena.fresh.db.query(
      `insert into seller_marks (seller_id, org_id, note, noted_by, noted_at) values ($1, $2, $3, $4, now())`,
      [seller?.id, orgId, `the same as ${name}?`, userId],
    )
    await arena.fresh.db.query(`insert into seller_views (org_id, name, filter, created_by) values ($1, $2, $3, $4)`, [
      orgId,
      `Only ${name}`,
      JSON.stringify({ search: name.toUpperCase(), flag: ['promising'] }),
      userId,
    ])
    await arena.fresh.db.query(
      `insert into api_requests (principal, key, user_id, request_hash, status, answer) values ($1, 'k', $2, $3, 200, $4)`,
      [`person:${userId}`, userId, Buffer.alloc(32), JSON.stringify({ items: [{ name }] })],
    )
    await askEbay({ username: name })
    expect(await erase()).toBe(1)
    expect(await traces(name)).toEqual([])
    const exports = await arena.rows<{ id: string; state: string; parts: number }>(
      `select id, state, (select count(*)::int from seller_export_parts p where p.export_id = e.id) as parts
       from seller_exports e where id = any($1) order by array_position($1, id)`,
      [[ready, running, later]],
    )
    expect(exports.map(({ state, parts }) => [state, parts])).toEqual([
      ['expired', 0],
      ['queued', 0],
      ['ready', 1],
    ])
    expect(await arena.rows('select note from seller_marks where seller_id = $1', [seller?.id])).toEqual([
      { note: 'the same as [erased]?' },
    ])
    expect(await arena.rows('select status, answer from api_requests')).toEqual([{ status: null, answer: null }])
    await arena.fresh.db.query('delete from api_requests; delete from seller_exports')
  })

  it('tells the organisations concerned that and how much, without saying whom', async () => {
    const name = person()
    const org = await otherOrg()
    await collect(() => [name], { products: 3, orgId: org })
    const id = await askEbay({ username: name })
    await erase()
    const told = await arena.rows<{ org: string; after: object; actor: string }>(
      'select org_id as org, after, actor_id as actor from audit_log where target = $1',
      [`erasure:${id}`],
    )
    expect(told).toEqual([
      {
        org,
        after: { source: 'ebay', evidence: 3, items: 1, sellers: 1 },
        actor: '00000000-0000-0000-0000-000000000000',
      },
    ])
    expect(await shown(org, 10)).toMatchObject([{ id, state: 'done', counts: { sellers: 1 } }])
    expect((await shown(arena.actor.orgId, 100)).map((row) => row.id)).not.toContain(id)
  })

  it('of one organisation leaves the others their seller, and the others collect it again', async () => {
    const name = person()
    const org = await otherOrg()
    await collect(() => [name])
    await collect(() => [name], { orgId: org })
    await askOwner(name)
    await erase()
    const left = await arena.rows<{ org: string }>('select org_id as org from sellers where normalized_name = $1', [
      name,
    ])
    expect(left).toEqual([{ org }])
    await collect(() => [name])
    await collect(() => [name], { orgId: org })
    expect(await arena.rows('select from sellers where normalized_name = $1', [name])).toHaveLength(1)
  })

  it('of somebody never seen is done at once, and that one will not be collected', async () => {
    const name = person()
    const id = await askEbay({ username: name })
    expect(await erase()).toBe(1)
    await collect(() => [name])
    expect(await traces(name)).toEqual([])
    const [row] = await arena.rows<{ state: string; counts: object; sealed: null }>(
      'select state, counts, identity_sealed as sealed from compliance_erasures where id = $1',
      [id],
    )
    expect(row).toEqual({ state: 'done', counts: {}, sealed: null })
  })

  it('of the same notification twice is one', async () => {
    const ask = { username: person(), notificationId: newId() }
    await askEbay(ask)
    await askEbay(ask)
    expect(await erase()).toBe(1)
    await askEbay(ask)
    expect(await erase()).toBe(0)
  })

  it('has an hour, which is shown', async () => {
    const id = await askOwner(person())
    const [open] = await shown(arena.actor.orgId, 1)
    expect(open).toMatchObject({ id, state: 'pending', overdue: false, counts: {} })
    expect((open?.dueAt.getTime() ?? 0) - (open?.receivedAt.getTime() ?? 0)).toBe(3_600_000)
    await arena.fresh.db.query(`update compliance_erasures set due_at = now() - interval '1 s' where id = $1`, [id])
    expect(await shown(arena.actor.orgId, 1)).toMatchObject([{ overdue: true }])
    await erase()
    expect(await shown(arena.actor.orgId, 1)).toMatchObject([{ state: 'done', overdue: false }])
  })
})

describe('an erasure that is interrupted', () => {
  const STEPS = ['banned', 'evidence', 'items', 'sellers', 'audit', 'erased']

  it.each(STEPS)('after %s goes on with whoever takes it up, and counts nothing twice', async (step) => {
    const name = person()
    const id = await (async () => {
      await collect(() => [name], { products: 3 })
      await withTx(db, (tx) =>
        appendAudit(tx, {
          orgId: arena.actor.orgId,
          actorId: arena.actor.userId,
          action: 'x.y',
          target: 'x:y',
          note: name,
        }),
      )
      return askEbay({ username: name })
    })()
    let reached = 0
    const stop = (at: string): void => {
      if (at !== step) return
      reached += 1
      throw new Error('the worker is gone')
    }
    expect(await erase({ onStep: stop })).toBe(0)
    expect(reached).toBe(1)
    const [row] = await arena.rows<{ trouble: string; attempts: number }>(
      'select trouble, attempts from compliance_erasures where id = $1',
      [id],
    )
    expect(row).toEqual({ trouble: 'a fault', attempts: 1 })
    await expectClean(arena.db)
    await arena.db.query('update compliance_erasures set next_at = now() where id = $1', [id])
    expect(await erase()).toBe(1)
    expect(await traces(name)).toEqual([])
    const told = await arena.rows<{ after: object }>('select after from audit_log where target = $1', [`erasure:${id}`])
    expect(told).toEqual([{ after: { source: 'ebay', evidence: 3, items: 1, sellers: 1, audit: 1 } }])
  })

  it('is taken by one worker at a time, and by another when its lease is over', async () => {
    await askEbay({ username: person() })
    let release = (): void => {}
    const held = new Promise<void>((resolve) => (release = resolve))
    let banned = (): void => {}
    const reached = new Promise<void>((resolve) => (banned = resolve))
    const first = erase({
      onStep: (step) => {
        if (step !== 'banned') return
        banned()
        return held
      },
    })
    await reached
    expect(await erase()).toBe(0)
    await arena.db.query(`update compliance_erasures set next_at = now() where state = 'pending'`)
    expect(await erase()).toBe(1)
    release()
    await first
  })

  it('waits for somebody with the key', async () => {
    await askEbay({ username: person() })
    expect(await eraseDue({ db: { ...db, secrets: null }, log: () => {} })).toBe(0)
    expect(await erase()).toBe(1)
  })
})

describe('a booking', () => {
  it('under way while a seller is erased either is undone with it or leaves it out', async () => {
    const name = person()
    const run = await arena.makeRun({ products: 60 })
    let asked = 0
    const search = searchWith(async () => {
      asked += 1
      if (asked === 20) await askEbay({ username: name })
      if (asked === 20) await erase()
      return found([name, `${name}-other${asked}`])
    })
    await work(arena, { db, run, search, slots: 4 })
    const left = (await traces(name)).filter((row) => !/-other/.test(row))
    expect(left).toEqual([])
    expect(await arena.rows('select from sellers where normalized_name = $1', [name])).toEqual([])
    expect(await arena.look(run.id)).toMatchObject({ foundItems: 60 })
  })

  it('is waited for by who puts a seller on a list, and later ones wait for that', async () => {
    const order: string[] = []
    let release = (): void => {}
    const held = new Promise<void>((resolve) => (release = resolve))
    let looked = (): void => {}
    const hasLooked = new Promise<void>((resolve) => (looked = resolve))
    const booking = withTx(db, async (tx) => {
      await leftOutVersion(tx)
      looked()
      await held
      order.push('booked')
    })
    await hasLooked
    const listing = withTx(db, async (tx) => {
      await raiseLeftOut(tx)
      order.push('listed')
    })
    // Until it waits in the database for the booking.
    for (let waits = 0; waits === 0; ) {
      const [row] = await arena.rows<{ n: number }>(
        `select count(*)::int as n from pg_locks where locktype = 'advisory' and classid = 724102 and not granted`,
      )
      waits = row?.n ?? 0
      if (order.length > 0) break
    }
    release()
    await Promise.all([booking, listing])
    expect(order).toEqual(['booked', 'listed'])
  })

  it('is refused without the key once somebody was erased, and nothing of it is written', async () => {
    expect(await hasTombstones(db, arena.actor.orgId)).toBe(true)
    const run = await arena.makeRun({ products: 1 })
    const [claimed] = await claim(arena, run, await arena.makeWorker())
    const answered = finished(claimed, found([person()]))
    await expect(book(arena, run, answered)).rejects.toMatchObject({ code: 'key.missing' })
    expect(await arena.calls(run.id)).toEqual({ held: 1 })
    const options = { mayClimb: false, known: makeKnownSellers(), secrets: db.secrets }
    await withTx(db, (tx) => bookSearches(tx, run, [answered], options))
    expect(await arena.calls(run.id)).toEqual({ settled: 1 })
  })
})

describe('in the database', () => {
  const DENIED = { code: '42501' }

  it('an item is renamed to its own erased name only, and only a seller’s', async () => {
    const name = person()
    const run = await collect(() => [name], { products: 1 })
    const rename = (type: string, to: string) =>
      arena.fresh.db.query(`update collection_items set external_id = ${to} where run_id = $1 and item_type = $2`, [
        run.id,
        type,
      ])
    await expect(rename('ebay_seller', `'somebody'`)).rejects.toMatchObject({ code: 'GL002' })
    await expect(rename('ebay_seller', `'erased:' || gen_random_uuid()`)).rejects.toMatchObject({ code: 'GL002' })
    await expect(rename('amazon_product', `'erased:' || id`)).rejects.toMatchObject({ code: 'GL002' })
    const worker = arena.db.query(`update collection_items set external_id = 'erased:' || id where run_id = $1`, [
      run.id,
    ])
    await expect(worker).rejects.toMatchObject(DENIED)
  })

  it('workers cannot take tombstones away, nor read who an erasure is about once it is done', async () => {
    await expect(arena.db.query('delete from compliance_tombstones')).rejects.toMatchObject(DENIED)
    await expect(arena.db.query('update compliance_tombstones set org_id = null')).rejects.toMatchObject(DENIED)
    const keep = arena.fresh.db.query(
      `update compliance_erasures set identity_sealed = 'x', identity_nonce = 'y', identity_key_id = 'z' where state = 'done'`,
    )
    await expect(keep).rejects.toMatchObject({ code: '23514' })
  })

  it.each(['compliance_tombstones', 'compliance_erasures', 'compliance_version', 'compliance_sweeps'])(
    'nobody who is signed in reads %s',
    async (table) => {
      const read = withTx(db, async (tx) => {
        await tx.query('set local role authenticated')
        await tx.query(`select from ${table}`)
      })
      await expect(read).rejects.toMatchObject(DENIED)
    },
  )

  it('nobody who is signed in redacts or trims the audit log, or erases items', async () => {
    for (const call of [
      `gleaner_redact_audit(array['x'], array['seller:x'], null)`,
      `gleaner_trim_audit(gen_random_uuid(), 1)`,
      `gleaner_erase_items(array['x'], null, 1)`,
    ]) {
      const used = withTx(db, async (tx) => {
        await tx.query('set local role authenticated')
        await tx.query(`select ${call}`)
      })
      await expect(used, call).rejects.toMatchObject(DENIED)
    }
  })

  it('redacting needs somebody to redact', async () => {
    for (const names of ['{}', '{""}'])
      await expect(arena.db.query('select gleaner_redact_audit($1, $2, null)', [names, '{}'])).rejects.toMatchObject({
        code: 'GL003',
      })
  })
})
