/** Collecting from the command line: real processes, a real database, the sandbox. One installation, kept up by `start`. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse } from 'csv-parse/sync'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { connect } from '../../src/db/client.ts'
import { preparePlace } from '../../src/db/embedded-place.ts'
import { socketUrl } from '../../src/db/embedded-server.ts'
import { type Installation, installation, installationUp, type Running, sandbox, takeDown } from './support.ts'

type Run = Readonly<{
  number: number
  status: string
  pauseReason: string | null
  capMicros: number
  spentMicros: number
  heldMicros: number
  suspectMicros: number
  leftMicros: number
  heldCalls: number
  totalItems: number
  processedItems: number
  pendingItems: number
  sellerItems: number
  newSellers: number
}>

let place: Installation
let up: Running
let origin = ''

beforeAll(async () => {
  ;({ place, up, origin } = await installationUp())
})
afterAll(() => takeDown({ place, up, origin }))

const verified = async () => {
  const findings = await place.json<{ invariant: string; state: string }[]>(['verify'])
  expect(findings.map(({ invariant, state }) => `${invariant} ${state}`)).toEqual(
    Array.from({ length: 10 }, (_, at) => `I${at + 1} ok`),
  )
}

describe('gleaner collect', () => {
  it('collects a category to its end and tells how it went', async () => {
    const run = await place.json<Run>(['collect', 'kitchen/289742', '--cap', '5', '--name', 'Coffee'])
    expect(run).toMatchObject({
      status: 'completed',
      capMicros: 5_000_000,
      heldMicros: 0,
      suspectMicros: 0,
      pendingItems: 0,
    })
    expect(run.processedItems).toBe(run.totalItems)
    expect(run.newSellers).toBeGreaterThan(0)
    expect(run.spentMicros + run.leftMicros).toBe(run.capMicros)

    const shown = await place.run('run', 'show', String(run.number))
    expect(shown.out).toContain('✓ Completed')
    expect(shown.out).toMatch(/spent \$0\.\d{3}\s+.*held \$0\.000\s+.*suspect \$0\.000\s+.*unspent \$4\.\d{3}/)
    expect(shown.out).toContain('SANDBOX')
    const { out } = await place.run('runs')
    expect(out).toContain('Coffee')
    await verified()
  })

  it('reads a product list, names its errors and searches each product once', async () => {
    const list = place.file(
      'list.csv',
      'Code,title,price\nB000000001,Blue Pine Travel Mug 20 oz Steel,12.50\nB000000002,Red Oak Kettle,30\n' +
        'B000000001,Again,9\nnot-an-asin,Thing,5\n',
    )
    const told = await place.run('collect', '--products', list, '--columns', 'asin=Code', '--estimate')
    expect(told.status).toBe(0)
    expect(told.err).toContain(
      '4 rows: 2 products, 1 repeated row left out (B000000001 on lines 2, 4), 1 row with errors left out.',
    )
    expect(told.err).toContain('line 5, asin "not-an-asin"')
    expect(told.out).toMatch(/Estimate {2}\$0\.0\d to \$0\.0\d, likely \$0\.0\d\. From your last run\b/)

    const run = await place.json<Run>(['collect', '--products', list, '--columns', 'asin=Code'])
    expect(run).toMatchObject({ status: 'completed', totalItems: 2, processedItems: 2 })
  })

  it('refuses a cap that the run would surely reach', async () => {
    const tooLow = await place.run('collect', 'toys-and-games', '--cap', '0.10')
    expect(tooLow.status).toBe(4)
    expect(tooLow.err).toMatch(/Even the low end of the estimate \(\$0\.\d\d\) is above the cap \(\$0\.10\)\./)
    expect(tooLow.err).toMatch(/--up-to-cap: about \d+ of \d+ products\.\n\(run\.cap_below_estimate\)/)
  })

  it('pauses at the cap, and goes on to the end when the cap is raised', async () => {
    const stopped = await place.run('collect', 'toys-and-games', '--cap', '0.10', '--up-to-cap')
    expect(stopped.status).toBe(7)
    expect(stopped.out).toContain('is above your cap ($0.10)')
    expect(stopped.out).toMatch(/The run collects up to the cap, about \d+ of \d+ products, then pauses\./)
    expect(stopped.out).toMatch(
      /The cap is reached: \$0\.000 is left and one call costs \$0\.005\. Everything collected is kept\./,
    )
    const refused = await place.run('run', 'resume', 'last')
    expect(refused.status).toBe(4)
    expect(refused.err).toContain('(run.cap_reached)')
    expect((await place.run('run', 'cap', 'last', '0.05')).err).toContain('cannot go below $0.10')

    const before = await place.json<Run>(['run', 'show', 'last'])
    expect(before).toMatchObject({ status: 'paused', pauseReason: 'budget', spentMicros: 100_000 })
    const run = await place.json<Run>(['run', 'cap', 'last', '5', '--resume'])
    expect(run).toMatchObject({ number: before.number, status: 'completed', capMicros: 5_000_000 })
    await verified()
  })
})

describe('gleaner estimate', () => {
  type Told = Readonly<{
    estimate: {
      cost: { low: number; likely: number; high: number }
      newSellers: { high: number } | null
      sources: Record<string, { kind: string; runs?: number } | null>
      categories: { key: string; lastCollectedAt: string | null; cost: { likely: number } }[]
    }
    startable: boolean
  }>

  it('says for each category what it costs, brings, and where that comes from; spends nothing', async () => {
    const before = await place.json<Run[]>(['runs'])
    const told = await place.run('estimate', 'kitchen/289742', 'toys-and-games', 'fashion/9479199011', '--cap', '0.20')
    expect(told.status).toBe(0)
    expect(told.out).toMatch(
      /Estimate {2}\$\d\.\d\d to \$\d\.\d\d, likely \$\d\.\d\d\. From your last (\d runs|run); \d of 3 categories never/,
    )
    expect(told.out).toMatch(
      /Even the low end \(\$\d\.\d\d\) is above your cap \(\$0\.20\)\. Raise the cap, choose less, or collect/,
    )
    expect(told.out).toMatch(/Coffee.*kitchen\/289742.*(just now|min ago)/)
    expect(told.out).toMatch(/Luggage & Travel Gear.*~ never collected/)

    const { estimate, startable } = await place.json<Told>([
      'estimate',
      'kitchen/289742',
      'fashion/9479199011',
      '--cap',
      '9',
    ])
    expect(startable).toBe(true)
    expect(estimate.sources['cost']).toMatchObject({ kind: 'earlier_runs' })
    expect(estimate.categories.map(({ lastCollectedAt }) => lastCollectedAt !== null)).toEqual([true, false])
    expect(await place.json<Run[]>(['runs'])).toEqual(before)
  })

  it('refuses what collect refuses', async () => {
    expect((await place.run('estimate')).status).toBe(2)
    expect((await place.run('estimate', 'no-such-category-at-all')).err).toContain('(input.category_unknown)')
  })

  it('is kept, and compared with what was spent', async () => {
    const shown = await place.run('run', 'show', '1')
    expect(shown.out).toMatch(/Estimate .*\n.*Actual .*\n +inside the estimate/)
  })
})

describe('a sample first', () => {
  type Sampled = Readonly<{
    run: Run
    estimate: { cost: { low: number; high: number }; sources: { cost: { kind: string } } }
  }>

  it('is told, searched and paused by estimate; the same run goes on and asks nothing twice', async () => {
    const { sampleAtMostMicros } = await place.json<{ sampleAtMostMicros: number }>(['estimate', 'industrial'])
    const { run, estimate } = await place.json<Sampled>(['estimate', 'industrial', '--sample'])
    expect(run).toMatchObject({ status: 'paused', pauseReason: 'budget', capMicros: sampleAtMostMicros })
    expect(run.processedItems).toBe(10)
    expect(estimate.sources.cost.kind).toBe('sample')

    const shown = await place.run('run', 'show', 'last')
    expect(shown.out).toMatch(/The sample is through: 10 products for \$0\.\d+\. \d+ products and 0 lists wait\./)
    const ended = await place.json<Run>(['run', 'cap', 'last', '5', '--resume'])
    expect(ended).toMatchObject({ number: run.number, status: 'completed', pendingItems: 0 })
    expect(ended.spentMicros).toBeGreaterThanOrEqual(estimate.cost.low)
    expect(ended.spentMicros).toBeLessThanOrEqual(estimate.cost.high)
  })

  it('goes on by itself with --yes, and waits without', async () => {
    const waits = await place.run('collect', 'automotive', '--sample', '--cap', '5')
    expect(waits.status).toBe(7)
    expect(waits.out).toMatch(/Sample +10 products searched for \$0\.\d\d\./)
    expect(waits.out).toMatch(/From the first 10 products of this run\./)
    expect(waits.out).toMatch(/gleaner.* run cap \d+ \d+ --resume/)
    const goes = await place.run('collect', 'automotive', '--sample', '--cap', '5', '--yes')
    expect(goes.status).toBe(0)
    expect(goes.out).toMatch(/From the first 10 products of this run\.[^]*Completed in/)
  })
})

describe('the month cap', () => {
  it('stops a run, says when it starts anew, and lets it go on when it is raised', async () => {
    const { month } = await place.json<{ month: { spentMicros: number } }>(['settings'])
    const cap = month.spentMicros + 20_000
    await place.run('settings', 'set', `month-cap=${cap / 1_000_000}`)
    const refused = await place.run('collect', 'toys-and-games', '--cap', '5')
    expect(refused.status).toBe(4)
    expect(refused.out).toMatch(
      /Even the low end \(\$0\.\d\d\) is above what your month cap leaves \(\$0\.02\)\. Raise the month cap/,
    )
    expect(refused.err).toMatch(/is above what the month cap leaves \(\$0\.02\)\.\n[^]*\(month\.cap_below_estimate\)/)
    const told = await place.json(['estimate', 'toys-and-games', '--cap', '5'])
    expect(told).toMatchObject({ startable: false, nearestLimit: { kind: 'month', micros: 20_000 } })

    const stopped = await place.run('collect', 'toys-and-games', '--cap', '5', '--up-to-cap')
    expect(stopped.status).toBe(7)
    expect(stopped.out).toMatch(/Month {5}\$0\.02 left of \$\d+\.\d\d/)
    expect(stopped.out).toMatch(/The run collects up to the month cap, about \d+ of \d+ products, then pauses\./)
    expect(stopped.out).toMatch(/The month cap of \$\S+ leaves less than one call\. It starts anew on 1 [A-Z][a-z]+\./)
    expect(stopped.out).toContain('Paused, month cap reached'.toLowerCase())
    expect(stopped.out).toMatch(/month: \$0\.\d+ left/)
    await place.run('settings', 'set', 'month-cap=off')
    // By itself: a worker is up.
    let run: Run
    do run = await place.json<Run>(['run', 'show', 'last'])
    while (run.status === 'paused' || run.status === 'running')
    expect(run).toMatchObject({ status: 'completed', pauseReason: null })
  })
})

describe('stopping and going on', () => {
  it('Ctrl-C pauses the run and books what is in flight; resume finishes it', async () => {
    await sandbox(origin, 'latency', { ms: 700, jitterMs: 300 })
    const collecting = place.start('collect', 'pet-supplies', 'beauty')
    await collecting.line((line) => /searched [1-9]/.test(line))
    collecting.child.kill('SIGINT')
    const ended = await collecting.ended
    expect(ended.status).toBe(130)
    expect(ended.out).toContain('Pausing. Calls in flight are being finished.')
    expect(ended.out).toContain('The operator paused this run')
    const paused = await place.json<Run>(['run', 'show', 'last'])
    expect(paused).toMatchObject({ status: 'paused', pauseReason: 'operator', suspectMicros: 0 })
    expect(paused.processedItems).toBeLessThan(paused.totalItems)

    await sandbox(origin, 'latency', { ms: 0, jitterMs: 0 })
    const run = await place.json<Run>(['run', 'resume', String(paused.number)])
    expect(run).toMatchObject({ number: paused.number, status: 'completed', suspectMicros: 0 })
    await verified()
  })

  it('a reader that goes away pauses the run too: nothing is lost, nothing runs unseen', async () => {
    await sandbox(origin, 'latency', { ms: 700, jitterMs: 300 })
    const collecting = place.start('collect', 'musical-instruments', 'office-products')
    await collecting.line((line) => /searched [1-9]/.test(line))
    collecting.child.stdout?.destroy()
    expect((await collecting.ended).status).toBe(130)
    const paused = await place.json<Run>(['run', 'show', 'last'])
    expect(paused).toMatchObject({ status: 'paused', pauseReason: 'operator', heldMicros: 0, suspectMicros: 0 })
    await sandbox(origin, 'latency', { ms: 0, jitterMs: 0 })
  })

  it('a detached run is worked on by whoever is up, can be paused and cancelled', async () => {
    await sandbox(origin, 'latency', { ms: 1_500, jitterMs: 0 })
    const { number } = await place.json<Run>(['collect', 'office-products', '--detach'])
    const paused = await place.json<Run>(['run', 'pause', String(number)])
    expect(paused).toMatchObject({ number, status: 'paused', pauseReason: 'operator' })
    const cancelled = await place.run('run', 'cancel', String(number))
    expect(cancelled.status).toBe(0)
    expect(cancelled.out).toContain('A cancelled run cannot go on; a new run can collect the rest.')
    expect((await place.run('run', 'resume', String(number))).status).toBe(4)
    await sandbox(origin, 'latency', { ms: 0, jitterMs: 0 })
    const events = (await place.run('--json', 'run', 'events', String(number), '--follow')).out.trim().split('\n')
    const seen = events.map((line) => JSON.parse(line) as { seq: number; type: string })
    expect(seen.map(({ seq }) => seq)).toEqual(seen.map((_, at) => at + 1))
    expect(seen.map(({ type }) => type)).toEqual(expect.arrayContaining(['run.created', 'run.paused', 'run.cancelled']))
  })
})

describe('gleaner sellers', () => {
  it('lists, shows why, and exports a file a spreadsheet opens safely', async () => {
    await addSeller(`=HYPERLINK("http://x","a,b")`)
    const page = await place.json<{ total: number; sellers: { name: string; matched: number }[] }>([
      'sellers',
      'list',
      '--limit',
      '3',
    ])
    expect(page.sellers.map(({ matched }) => matched)).toEqual(
      page.sellers.map(({ matched }) => matched).toSorted((a, b) => b - a),
    )
    const name = page.sellers[0]?.name ?? ''
    const shown = await place.run('sellers', 'show', name.toUpperCase())
    expect(shown.out).toContain(`${page.sellers[0]?.matched} best sellers matched`)
    expect((await place.run('sellers', 'show', 'nobody-of-this-name')).status).toBe(3)

    const file = join(place.dir, 'out.csv')
    expect((await place.run('sellers', 'export', '--out', file)).status).toBe(0)
    const text = readFileSync(file, 'utf8')
    expect(text.startsWith('\ufeffseller,products_matched,')).toBe(true)
    expect(text).toContain(`"'=HYPERLINK(""http://x"",""a,b"")"`)
    expect(text.replaceAll('\r\n', '')).not.toContain('\n')
    const rows = parse(text, { bom: true, columns: true }) as { seller: string; products_matched: string }[]
    expect(rows).toHaveLength(page.total)
    expect(rows[0]).toMatchObject({ seller: name, products_matched: String(page.sellers[0]?.matched) })
    expect(rows.some(({ seller }) => /^[=+\-@]/.test(seller))).toBe(false)

    const json = JSON.parse((await place.run('sellers', 'export', '--format', 'json')).out) as unknown[]
    expect(json).toHaveLength(page.total)
    const nowhere = await place.run('sellers', 'export', '--out', join(place.dir, 'no', 'such.csv'))
    expect([nowhere.status, nowhere.err]).toEqual([2, expect.stringContaining('(input.file_unwritable)')])
    expect(existsSync(`${file}.part`)).toBe(false)
  })
})

async function addSeller(name: string): Promise<void> {
  const db = await connect(socketUrl(preparePlace({ dataDir: join(place.dir, 'pg18') })), { max: 1 })
  try {
    await db.query(
      `insert into sellers (org_id, display_name, normalized_name, platform, times_seen)
       select id, $1, lower($1), 'ebay', 0 from orgs limit 1`,
      [name],
    )
  } finally {
    await db.close()
  }
}

describe('gleaner start', () => {
  it('ends cleanly on Ctrl-C, and keeps everything for the next start', async () => {
    const before = await place.json<Run[]>(['runs'])
    up.child.kill('SIGINT')
    expect((await up.ended).status).toBe(0)
    // Nobody uses the database now: its server has been stopped, and the sandbox with it.
    expect(existsSync(join(place.dir, 'pg18', 'data', 'postmaster.pid'))).toBe(false)
    await expect.poll(() => sandbox(origin, 'health').catch(() => 'gone')).toBe('gone')

    const again = await place.run('start', '--once')
    expect(again.status).toBe(0)
    expect(again.out).toContain('Office Products')
    expect(again.out).not.toContain('What next')
    expect(await place.json<Run[]>(['runs'])).toEqual(before)
  })

  it('collects from the sandbox on a new database, and says what comes next', async () => {
    const fresh = installation()
    try {
      const first = await fresh.run('start', '--once')
      expect(first.status).toBe(0)
      expect(first.out).toMatch(/Listening for runs, ready after/)
      expect(first.out).toMatch(/Completed in .*: \d+ sellers, all of them new, for \$\d\.\d{3} of play money/)
      expect(first.out).toContain(`--data-dir ${fresh.dir} sellers export --out sellers.csv`)
      const lines = first.out.split('\n').filter((line) => line.startsWith('run 1 '))
      expect(lines.at(-1)).toMatch(
        /^run 1 completed \| searched (\d+) of \1 \(100 %\) \| .*held \$0\.000, suspect \$0\.000, left .* \[SANDBOX\]$/,
      )
    } finally {
      await fresh.remove()
    }
  })
})
