import { afterAll, beforeAll, expect, it } from 'vitest'
import { emptyDb, type FreshDb } from '../support/db.ts'
import { type Installation, installation } from './support.ts'

let db: FreshDb
let place: Installation
beforeAll(async () => {
  db = await emptyDb()
  place = installation({ DATABASE_URL: db.url })
})
afterAll(async () => {
  await place.remove()
  await db.close()
})

it('changes a database of your own only when asked to', async () => {
  const behind = await place.run('runs')
  expect([behind.status, behind.err]).toEqual([
    5,
    expect.stringMatching(/Run `gleaner migrate`[^]*\(db\.schema_behind\)/),
  ])
  expect((await place.run('migrate', '--check')).status).toBe(5)
  expect((await place.run('doctor')).out).toMatch(/✗ Schema +\d+ migrations pending/)

  const migrated = await place.run('migrate')
  expect([migrated.status, migrated.out]).toEqual([0, expect.stringMatching(/^Applied \d+ migrations\.\n$/)])
  expect((await place.run('migrate', '--check')).status).toBe(0)

  expect((await place.run('runs')).out).toContain('No run yet')
  const set = await place.run('settings', 'set', 'cap=12.50', 'located-in=anywhere')
  expect(set.out).toMatch(/cap +\$12\.50 .*more than \$12\.50/)
  expect((await place.run('settings')).out).toMatch(/located-in +anywhere/)

  const added = await place.run('accounts', 'add', 'live', '--adapter', 'ebay_browse', '--price', 'ebay.search=0')
  expect(added.out).toMatch(/live +search +ebay\.search free .*not set/)
  const wrong = await place.run('accounts', 'price', 'live', 'keepa.token=1')
  expect([wrong.status, wrong.err]).toEqual([2, expect.stringContaining('kinds are ebay.search')])
  const doctor = await place.run('doctor')
  expect([doctor.status, doctor.out]).toEqual([5, expect.stringMatching(/✗ live +The account live has no credentials/)])
})

it('shows and sets the month cap', async () => {
  await place.run('migrate')
  expect((await place.run('settings')).out).toMatch(/month-cap +off .*together; \$0\.00 is spent this month/)
  const capped = await place.run('settings', 'set', 'month-cap=200')
  expect(capped.out).toMatch(/month-cap +\$200\.00 .*\$0\.00 is spent this month, \$200\.00 left/)
  expect(await place.json(['settings'])).toMatchObject({
    monthCapMicros: 200_000_000,
    month: { capMicros: 200_000_000, spentMicros: 0, leftMicros: 200_000_000 },
  })
  expect(await place.json(['settings', 'set', 'month-cap=off'])).toMatchObject({ monthCapMicros: null })
})

it('sets where runs are told of, shows the secret once, and what became of it', async () => {
  const set = await place.run('settings', 'set', 'notify-url=http://localhost:9/told')
  expect(set.out).toMatch(/notify-url +http:\/\/localhost:9\/told 0 told, 0 waiting, 0 failed: gleaner notifications/)
  expect(set.out).toMatch(/It is not shown again[^]*\n {2}[0-9a-f]{64}\n/)
  const after = await place.run('settings')
  expect(after.out).not.toMatch(/[0-9a-f]{64}/)
  const renewed = await place.json(['settings', 'set', 'notify-secret=new'])
  expect(renewed).toMatchObject({
    hook: { url: 'http://localhost:9/told' },
    notifySecret: expect.any(String) as string,
  })
  expect((await place.run('notifications')).out).toBe('Nothing was told yet.\n')
  const wrong = await place.run('settings', 'set', 'notify-url=http://me:secret@localhost/')
  expect([wrong.status, wrong.err]).toEqual([2, expect.stringContaining('it holds a user or a password')])
})
