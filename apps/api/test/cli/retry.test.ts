/** Retrying from the command line: blocked by captcha pages, searched again when they are gone, billed for those alone. */
import { beforeAll, describe, expect, it } from 'vitest'
import { type Installation, installationUp, sandbox, takeDown } from './support.ts'

type Run = Readonly<{
  number: number
  name: string
  status: string
  capMicros: number
  spentMicros: number
  totalItems: number
  blockedItems: number
  foundItems: number
  noneItems: number
  retryOf: Readonly<{ number: number }> | null
  retries: readonly Readonly<{ number: number; status: string }>[]
}>

let place: Installation
let origin = ''

beforeAll(async () => {
  const all = await installationUp()
  ;({ place, origin } = all)
  return () => takeDown(all)
})

const billed = async () => (await sandbox<{ micros: number }>(origin, 'billing/summary')).micros
const show = (ref: number | string) => place.json<Run>(['run', 'show', String(ref)])

describe('gleaner run retry', () => {
  it('searches blocked products again, links both runs and is billed for those only', async () => {
    const list = place.file(
      'list.csv',
      'asin,title,price\nB000000001,Zimtstern Travel Mug Steel,12.50\nB000000002,Quarkini Kettle,30\n' +
        'B000000003,Quarkini Toaster,25\nB000000004,Zimtstern Whisk,9\n',
    )
    const blocking = { provider: 'oxylabs', operation: 'ebay', kind: 'captcha', when: { matching: 'quarkini' } }
    await sandbox(origin, 'faults', [blocking])
    const first = await place.run('collect', '--products', list, '--search', 'sandbox-oxylabs', '--name', 'Stars')
    expect(first.status).toBe(0)
    expect(first.out).toContain(
      "2 searches were blocked: the provider's page refused us. They are not counted as none.",
    )
    const parent = await show('last')
    expect(parent).toMatchObject({ status: 'completed', blockedItems: 2, totalItems: 4, retryOf: null, retries: [] })
    expect(first.out).toContain(`run retry ${parent.number}`)

    await sandbox(origin, 'faults', [])
    const told = await place.run('run', 'retry', String(parent.number), '--estimate')
    expect(told.out).toContain(`Retry     2 blocked products of run ${parent.number}, Stars`)
    const before = await billed()
    const done = await place.run('run', 'retry', String(parent.number))
    expect(done.status).toBe(0)
    const run = await show('last')
    expect(run).toMatchObject({
      name: 'Retry of Stars',
      status: 'completed',
      totalItems: 2,
      blockedItems: 0,
      retryOf: { number: parent.number },
    })
    expect(run.foundItems + run.noneItems).toBe(2)
    expect((await billed()) - before).toBe(run.spentMicros)
    expect(run.spentMicros).toBeGreaterThan(0)
    expect(run.spentMicros).toBeLessThanOrEqual(run.capMicros)

    expect((await show(parent.number)).retries).toMatchObject([{ number: run.number, status: 'completed' }])
    expect((await place.run('run', 'show', String(parent.number))).out).toContain(
      `Continued in run ${run.number} (completed).`,
    )
    expect((await place.run('run', 'show', String(run.number))).out).toContain(`Retries run ${parent.number}, Stars.`)
    const { out: events } = await place.run('run', 'events', String(parent.number))
    expect(events).toMatch(new RegExp(`run\\.retried +continued in run ${run.number}`))
    const findings = await place.json<{ state: string }[]>(['verify'])
    expect(findings.map(({ state }) => state)).toEqual(Array.from({ length: 10 }, () => 'ok'))
  })

  it('says when there is nothing to retry, and what cannot be retried', async () => {
    const again = await place.run('run', 'retry', 'last')
    expect(again).toMatchObject({ status: 4, out: '', err: expect.stringContaining('(run.nothing_to_retry)') })
    const unknown = await place.run('run', 'retry', 'last', '--only', 'everything')
    expect(unknown).toMatchObject({
      status: 2,
      err: expect.stringContaining('"everything" is nothing that can be retried'),
    })
    expect(await place.run('run', 'retry', 'last', '--only', 'blocked', '--all')).toMatchObject({ status: 2 })
  })
})
