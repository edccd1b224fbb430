/** Suspect calls from the command line: shown, settled on a person's word, compared with the bill. */
import { beforeAll, describe, expect, it } from 'vitest'
import { type Installation, installationUp, sandbox, takeDown } from './support.ts'

type Run = Readonly<{
  number: number
  status: string
  spentMicros: number
  suspectMicros: number
  suspectCalls: number
}>
type Call = Readonly<{ id: string; state: string; resolution: Readonly<{ verdict: string; note: string }> | null }>

let place: Installation
let origin = ''

beforeAll(async () => {
  const all = await installationUp()
  ;({ place, origin } = all)
  return () => takeDown(all)
})

/** A completed run over two products, of which the one called Quarkini never got an answer: three suspect calls. */
async function collect(kind: 'reset_after' | 'reset_before'): Promise<Run> {
  const list = place.file(
    'list.csv',
    'asin,title,price\nB000000001,Zimtstern Travel Mug Steel,12.50\nB000000002,Quarkini Kettle,30\n',
  )
  const losing = { provider: 'ebay', operation: 'search', kind, when: { matching: 'quarkini' } }
  await sandbox(origin, 'faults', [losing])
  const run = await place.json<Run>(['collect', '--products', list])
  expect(run).toMatchObject({ status: 'completed', suspectCalls: 3, suspectMicros: 15_000 })
  return run
}
const broken = async (number: number) => {
  const { out } = await place.run('--json', 'verify', '--run', String(number))
  return (JSON.parse(out) as { invariant: string; state: string }[])
    .filter(({ state }) => state !== 'ok')
    .map(({ invariant }) => invariant)
}

describe('gleaner calls', () => {
  it('shows suspect calls and settles them as charged, by name and all at once', async () => {
    const { number, spentMicros } = await collect('reset_after')
    const shown = await place.run('run', 'show', String(number))
    expect(shown.out).toContain(
      '$0.015 suspect: 3 calls were sent and no answer came. They may have been charged, so they count',
    )
    expect(shown.out).toContain(`calls resolve ${number} --all`)
    const calls = await place.json<Call[]>(['calls', String(number), '--state', 'suspect'])
    expect(calls).toHaveLength(3)
    const [first] = calls
    const resolve = ['calls', 'resolve', String(number)]
    const one = await place.run(...resolve, '--call', first?.id ?? '', '--charged', '--note', 'on the invoice')
    expect(one.out).toMatch(
      /^1 suspect call of run \d+ is settled as charged, \$0\.005\. \$\d+\.\d{3} of the cap is unspent\.\n$/,
    )
    const again = await place.run(...resolve, '--call', first?.id ?? '', '--not-charged', '--note', 'no')
    expect(again).toMatchObject({ status: 4, err: expect.stringContaining('was settled as charged by the operator') })
    const rest = await place.json<{ calls: number; run: Run }>([...resolve, '--all', '--charged', '--note', 'the same'])
    expect(rest).toMatchObject({ calls: 2, run: { suspectCalls: 0, spentMicros: spentMicros + 15_000 } })
    const told = await place.json<Call[]>(['calls', String(number)])
    expect(told.find(({ id }) => id === first?.id)?.resolution).toMatchObject({
      verdict: 'charged',
      note: 'on the invoice',
    })
    expect((await place.run('run', 'events', String(number))).out).toContain('2 suspect calls settled as charged $0.01')
    expect(await broken(number)).toEqual([])
  }, 90_000)

  it('compares a person with the bill: not charged has to be true', async () => {
    const free = await collect('reset_before')
    const resolve = (run: Run) =>
      place.run('calls', 'resolve', String(run.number), '--all', '--not-charged', '--note', 'the provider was down')
    expect((await resolve(free)).out).toContain('are settled as not charged. ')
    expect(await broken(free.number)).toEqual([])
    const charged = await collect('reset_after')
    expect((await resolve(charged)).status).toBe(0)
    expect(await broken(charged.number)).toEqual(['I2', 'I4'])
  }, 90_000)

  it('refuses what it cannot do, by code', async () => {
    const refused = async (code: string, ...args: string[]) => {
      const { status, err } = await place.run('calls', 'resolve', 'last', ...args)
      expect([status, err]).toEqual([code.startsWith('input') ? 2 : 4, expect.stringContaining(`(${code})`)])
    }
    await refused('input.invalid', '--all', '--charged', '--not-charged', '--note', 'x')
    await refused('input.invalid', '--charged', '--note', 'x')
    await refused('input.invalid', '--call', 'seven', '--charged', '--note', 'x')
    await refused('input.invalid', '--all', '--not-charged', '--amount', '1', '--note', 'x')
    await refused('call.none_suspect', '--all', '--charged', '--note', 'x')
  })
})
