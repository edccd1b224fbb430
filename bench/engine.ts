/**
 * Booking: how many products a second are held, searched, booked: 20 listings from 8 sellers each, 3 of them new, a
 * provider that answers at once. Our engine, the same work as one job a product on graphile-worker, pg-boss and DBOS, and
 * the floor: the same rows written by hand-made SQL, which neither sends anything nor carries rows through a program.
 */
import { dbos } from './booking/dbos.ts'
import { engine } from './booking/engine.ts'
import { graphile } from './booking/graphile.ts'
import { type Measured, measureFloor, measureSide } from './booking/measure.ts'
import { pgBoss } from './booking/pg-boss.ts'
import type { Setting, Side } from './booking/types.ts'
import { readArgs } from './support/args.ts'
import { markdownTable, median, progress, rounded, whereMeasured } from './support/report.ts'
import { onStage, type Stage } from './support/stage.ts'

const args = readArgs(
  'Booking: products a second of the engine, of one job a product on its peers, and of SQL alone.',
  {
    products: { default: 20_000, help: 'products of the engine and of the floor in a round' },
    'peer-products': { default: 5_000, help: 'products of each peer and of the floor by one in a round' },
    'tune-products': { default: 1_500, help: 'products for trying a setting of a peer' },
    rounds: { default: 3, help: 'rounds; the order of the sides turns from round to round' },
    peers: { default: 'graphile-worker,pg-boss,DBOS', help: 'peers beside the engine and the floors' },
    'in-flight': { default: 800, help: 'calls the engine may have in flight' },
  },
)

/** A side as it is measured in the rounds. */
type Entry = Readonly<{ name: string; setting: string; measure: () => Promise<Measured> }>

await onStage(async (stage) => {
  const entries = [...(await sides(stage)), ...floors(stage)]
  const found = new Map<Entry, Measured[]>(entries.map((entry) => [entry, []]))
  for (let round = 0; round < args.rounds; round++) {
    // Side by side in one run, the order turned each round, so that no side always gets the warmer machine.
    for (let at = 0; at < entries.length; at++) {
      const entry = entries[(at + round) % entries.length] as Entry
      const measured = await entry.measure()
      found.get(entry)?.push(measured)
      progress(`round ${round + 1}, ${entry.name}: ${Math.round(measured.perSecond)} products/s`)
    }
  }
  report(found)
  console.log(
    `\n${args.products} products, ${args['peer-products']} for peers and the floor by one, ${args.rounds} rounds; ${await whereMeasured(stage.admin)}`,
  )
})

async function sides(stage: Stage): Promise<Entry[]> {
  const wanted = args.peers.split(',')
  const entries: Entry[] = []
  const tried: (string | number)[][] = []
  for (const side of [engine, graphile, pgBoss, dbos].filter((side) => side === engine || wanted.includes(side.name))) {
    const isOurs = side === engine
    const setting = isOurs ? { processes: 1, inFlight: args['in-flight'] } : await best(stage, side, tried)
    const products = isOurs ? args.products : args['peer-products']
    entries.push({
      name: side.name,
      setting: words(setting),
      measure: () => measureSide(stage, side, setting, products),
    })
  }
  if (tried.length > 0) console.log(`${markdownTable(['peer', 'setting tried', 'products/s'], tried)}\n`)
  return entries
}

/** The setting of a peer that is fastest here: each is tried once. */
async function best(stage: Stage, side: Side, tried: (string | number)[][]): Promise<Setting> {
  let fastest: { setting: Setting; perSecond: number } | undefined
  for (const setting of side.settings) {
    const { perSecond } = await measureSide(stage, side, setting, args['tune-products'])
    progress(`tried ${side.name}, ${words(setting)}: ${Math.round(perSecond)} products/s`)
    tried.push([side.name, words(setting), Math.round(perSecond)])
    if (!fastest || perSecond > fastest.perSecond) fastest = { setting, perSecond }
  }
  if (!fastest) throw new Error(`${side.name} has no setting`)
  return fastest.setting
}

function floors(stage: Stage): Entry[] {
  return [
    { name: 'SQL floor', setting: 'batches of 400', measure: () => measureFloor(stage, args.products) },
    {
      name: 'SQL floor, one by one',
      setting: 'batches of 1',
      measure: () => measureFloor(stage, args['peer-products'], 1),
    },
  ]
}

function words(setting: Setting): string {
  return Object.entries(setting)
    .map(([name, value]) => `${name} ${value}`)
    .join(', ')
}

function report(found: ReadonlyMap<Entry, readonly Measured[]>): void {
  const rateOf = (name: string): number => {
    const entry = [...found].find(([{ name: other }]) => other === name)
    return entry ? median(entry[1].map(({ perSecond }) => perSecond)) : Number.NaN
  }
  const ours = rateOf('engine')
  const floor = rateOf('SQL floor')
  const rows = [...found].map(([{ name, setting }, measured]) => {
    const rates = measured.map(({ perSecond }) => perSecond)
    const rate = median(rates)
    const isFloor = name.startsWith('SQL')
    return [
      name,
      setting,
      Math.round(rate),
      Math.round(Math.min(...rates)),
      rounded(ours / rate, 2),
      rounded(rate / floor, 2),
      isFloor ? 'none' : `${rounded(median(measured.map(({ cpu }) => cpu)) * 100)} %`,
      isFloor ? 'none' : `${rounded(median(measured.map(({ rssMb }) => rssMb)))} MB`,
    ]
  })
  const columns = ['side', 'setting', 'products/s', 'worst round', 'engine is so many times', 'of the floor']
  console.log(markdownTable([...columns, 'CPU of its processes', 'memory of its processes'], rows))
  const peers = [graphile, pgBoss, dbos].map(({ name }) => rateOf(name)).filter((rate) => !Number.isNaN(rate))
  if (peers.length > 0) {
    console.log(
      `\nEngine to best peer: ${rounded(ours / Math.max(...peers), 2)}. Engine to SQL floor: ${rounded(ours / floor, 2)}.`,
    )
  }
}
