import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Db } from '../../src/db/client.ts'
import { withTx } from '../../src/db/client.ts'
import { applySchema } from '../../src/deps.ts'
import { installQueue } from '../../src/queue/install.ts'
import { missingTickets, passOn, sendTicket, takeTicket, ticketWaits } from '../../src/queue/tickets.ts'
import { emptyDb, type FreshDb, freshDb } from '../support/db.ts'

let fresh: FreshDb
let worker: Db
beforeAll(async () => {
  fresh = await freshDb()
  worker = await fresh.connect({ role: 'service_role', max: 2 })
})
afterAll(() => fresh.close())

const ORG = '00000000-0000-4000-8000-000000000001'
const dropped = () => fresh.db.query('drop schema gleaner_queue cascade')

/** A ticket sent and taken by a worker. */
async function expectUsable(): Promise<void> {
  await withTx(worker, (tx) => sendTicket(tx, ORG))
  expect(await withTx(worker, takeTicket)).toMatchObject({ orgId: ORG })
}

describe('the queue', () => {
  it('comes with the schema, workers may use it, and a second look changes nothing', async () => {
    await expectUsable()
    expect(await installQueue(fresh.db)).toBe(false)
  })

  it('is for workers only', async () => {
    for (const role of ['anon', 'authenticated']) {
      const { rows } = await fresh.db.query(
        `select has_schema_privilege($1, 'gleaner_queue', 'usage, create') as "inSchema",
           bool_or(has_table_privilege($1, c.oid, 'select, insert, update, delete, truncate')) as "inTables"
         from pg_class c where c.relnamespace = 'gleaner_queue'::regnamespace and c.relkind in ('r', 'p')`,
        [role],
      )
      expect(rows).toEqual([{ inSchema: false, inTables: false }])
      const { rows: functions } = await fresh.db.query(
        `select p.proname from pg_proc p where p.pronamespace = 'gleaner_queue'::regnamespace
           and has_function_privilege($1, p.oid, 'execute')`,
        [role],
      )
      expect(functions).toEqual([])
    }
    await expect(worker.query('create table gleaner_queue.mine ()')).rejects.toMatchObject({ code: '42501' })
  })

  it('is made once when many processes start together', async () => {
    await dropped()
    const owners = await Promise.all([1, 2, 3, 4].map(() => fresh.connect({ max: 2 })))
    const made = await Promise.all(owners.map((owner) => applySchema(owner).then(() => installQueue(owner))))
    expect(made).toEqual([false, false, false, false])
    await expectUsable()
  })

  it('of an older version is made anew, of a newer one it is left alone', async () => {
    await fresh.db.query('update gleaner_queue.version set version = 20')
    expect(await installQueue(fresh.db)).toBe(true)
    await expectUsable()
    await fresh.db.query('update gleaner_queue.version set version = 99999')
    expect(await installQueue(fresh.db)).toBe(false)
    await dropped()
    expect(await installQueue(fresh.db)).toBe(true)
  })

  it('is mended when part of it is gone', async () => {
    await fresh.db.query('drop table gleaner_queue.job cascade')
    expect(await installQueue(fresh.db)).toBe(true)
    await fresh.db.query('delete from gleaner_queue.queue')
    expect(await installQueue(fresh.db)).toBe(true)
    await fresh.db.query('revoke all on all tables in schema gleaner_queue from service_role')
    expect(await installQueue(fresh.db)).toBe(true)
    await expectUsable()
  })

  it('comes with an upgrade of a database that has none', async () => {
    const old = await emptyDb()
    await applySchema(old.db)
    await old.db.query('drop schema gleaner_queue cascade')
    expect(await applySchema(old.db)).toEqual([])
    expect(await installQueue(old.db)).toBe(false)
    await old.close()
  })
})

describe('tickets', () => {
  it('are one for each organisation, however often they are sent', async () => {
    for (let at = 0; at < 3; at++) await withTx(worker, (tx) => sendTicket(tx, ORG))
    expect(await withTx(worker, takeTicket)).toMatchObject({ orgId: ORG })
    expect(await withTx(worker, takeTicket)).toBeNull()
  })

  it('of the organisation with the fewest lanes come first, equals in the order they were sent', async () => {
    const orgs = [1, 2, 3, 4].map((at) => `00000000-0000-4000-8000-00000000000${at}`)
    for (const [at, lanes] of [2, 1, 0, 1].entries()) {
      await withTx(worker, (tx) => passOn(tx, { id: '', orgId: orgs[at] as string }, 0, lanes))
    }
    const taken: (string | undefined)[] = []
    for (const _ of orgs) taken.push((await withTx(worker, takeTicket))?.orgId)
    expect(taken).toEqual([orgs[2], orgs[1], orgs[3], orgs[0]])
  })

  it('that rest are not taken before their time, unless something starts', async () => {
    await withTx(worker, (tx) => passOn(tx, { id: '', orgId: ORG }, 60_000, 0))
    expect(await ticketWaits(worker)).toBe(false)
    expect(await withTx(worker, takeTicket)).toBeNull()
    await withTx(worker, (tx) => sendTicket(tx, ORG))
    expect(await ticketWaits(worker)).toBe(true)
    expect(await withTx(worker, takeTicket)).toMatchObject({ orgId: ORG })
  })

  it('come and go with the transaction', async () => {
    const undone = new Error('undone')
    const undo = (work: (tx: Parameters<typeof takeTicket>[0]) => Promise<unknown>) =>
      withTx(worker, async (tx) => {
        await work(tx)
        throw undone
      }).catch((error: unknown) => expect(error).toBe(undone))
    await undo((tx) => sendTicket(tx, ORG))
    expect(await withTx(worker, takeTicket)).toBeNull()
    await withTx(worker, (tx) => sendTicket(tx, ORG))
    await undo(takeTicket)
    expect(await withTx(worker, takeTicket)).toMatchObject({ orgId: ORG })
  })

  it('that cannot be sent hinder nothing', async () => {
    await dropped()
    await withTx(worker, async (tx) => {
      await sendTicket(tx, ORG)
      await tx.query(`insert into collection_workers (id, name, version) values ($1, 'w', '0')`, [ORG])
    })
    expect((await worker.query('select from collection_workers where id = $1', [ORG])).rowCount).toBe(1)
    await expect(withTx(worker, takeTicket)).rejects.toThrow(/queue cannot be used/)
    await expect(ticketWaits(worker)).rejects.toThrow(/queue cannot be used/)
    await expect(missingTickets(worker)).rejects.toThrow(/queue cannot be used/)
    await installQueue(fresh.db)
  })
})
