import { appendFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import {
  categoriesFile,
  ended,
  mint,
  products,
  requests,
  runMain,
  sandboxProcess,
  search,
  temporaryDirectory,
} from './support.ts'

function place(): { data: string; args: string[] } {
  const data = temporaryDirectory()
  return { data, args: ['--data', data, '--categories', categoriesFile(data)] }
}

describe('the process', () => {
  it('prints one line, keeps the billing record and the world over kill -9, and takes its stale lock over', async () => {
    const { data, args } = place()
    const first = await sandboxProcess(args)
    expect(first.pid).toBe(first.child.pid)
    const list = await products(requests(first.url), 'orchard/9101')
    const token = await mint(first.url)
    const q = list[0]?.brand ?? ''
    const before = await search(first.url, token, { q })
    const answered: string[] = []
    let stop = false
    const client = async (worker: number): Promise<void> => {
      for (let i = 0; !stop; i++) {
        const id = `${worker}-${i}`
        const answer = await search(first.url, token, { q }, { 'x-request-id': id }).catch(() => null)
        if (answer?.status === 200) answered.push(id)
        if (answered.length >= 50 && !stop) {
          stop = true
          first.child.kill('SIGKILL')
        }
      }
    }
    await Promise.all([client(0), client(1), client(2), client(3)])
    const second = await sandboxProcess(args)
    const { entries } = await requests(second.url).post<{ entries: { requestId: string; micros: number }[] }>(
      '/sandbox/billing/lookup',
      { requestIds: answered },
    )
    expect(new Set(entries.map(({ requestId }) => requestId))).toEqual(new Set(answered))
    const lines = readFileSync(join(data, 'billing.jsonl'), 'utf8').trim().split('\n')
    expect(lines.map((line) => (JSON.parse(line) as { seq: number }).seq)).toEqual(lines.map((_, i) => i + 1))
    const hrefless = (body: object): object =>
      JSON.parse(JSON.stringify(body).replace(/127\.0\.0\.1:\d+/g, '')) as object
    expect(hrefless((await search(second.url, token, { q })).body)).toEqual(hrefless(before.body))
    expect(first.lines.length).toBe(1)
  })

  it('drops a last line of the record that was cut off, and goes on counting', async () => {
    const { data, args } = place()
    const entry = {
      seq: 1,
      at: '',
      provider: 'ebay',
      kind: 'ebay.search',
      units: 1,
      micros: 5,
      requestId: 'r',
      account: '',
      what: '',
    }
    appendFileSync(join(data, 'billing.jsonl'), `${JSON.stringify(entry)}\n{"seq":2,"at":"20`)
    const { url } = await sandboxProcess(args)
    expect(await requests(url).get('/sandbox/billing/summary')).toMatchObject({ count: 1, micros: 5 })
    await search(url, await mint(url), { q: 'x' })
    expect(await requests(url).get('/sandbox/billing?after=1')).toMatchObject({ entries: [{ seq: 2, micros: 5000 }] })
  })

  it('stops within a second on SIGTERM and SIGINT, with requests waiting, and gives the lock back', async () => {
    const { data, args } = place()
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      const running = await sandboxProcess(args)
      const client = requests(running.url)
      await client.post('/sandbox/faults', [{ kind: 'hang', operation: 'token' }])
      const waiting = mint(running.url).catch(() => 'closed')
      await expect.poll(async () => (await client.get<{ held: number }>('/sandbox/stats')).held).toBe(1)
      const began = performance.now()
      running.child.kill(signal)
      expect(await ended(running.child)).toBe(0)
      expect(performance.now() - began).toBeLessThan(1000)
      expect(await waiting).toBe('closed')
      expect(existsSync(join(data, 'sandbox.lock'))).toBe(false)
    }
  })

  it('refuses a data directory in use, and one made with another seed', async () => {
    const { data, args } = place()
    const running = await sandboxProcess([...args, '--seed', '5'])
    const second = await runMain(args)
    expect([second.code, second.stderr]).toEqual([5, expect.stringContaining(`${data} is in use by another sandbox`)])
    running.child.kill('SIGTERM')
    await ended(running.child)
    const other = await runMain([...args, '--seed', '6'])
    expect([other.code, other.stderr]).toEqual([2, expect.stringContaining('--seed 5')])
    const same = await sandboxProcess(args)
    expect(await requests(same.url).get('/sandbox/health')).toMatchObject({ seed: 5 })
  })

  it('takes a free port when the wished one is taken', async () => {
    const { args } = place()
    const blocker = createServer()
    const port = await new Promise<number>((resolve) => {
      blocker.listen(0, '127.0.0.1', () => resolve((blocker.address() as { port: number }).port))
    })
    const { url } = await sandboxProcess([...args, '--port', String(port)])
    blocker.close()
    expect(url).not.toContain(`:${port}`)
    expect(await requests(url).get('/sandbox/health')).toMatchObject({ status: 'ok' })
  })

  it('reads a configuration and a catalogue', async () => {
    const { data, args } = place()
    writeFileSync(
      join(data, 'config.json'),
      JSON.stringify({ prices: { 'ebay.search': 7 }, faults: [{ kind: 'quota' }] }),
    )
    writeFileSync(
      join(data, 'list.csv'),
      '\ufeffASIN,Title,Price\nB0CSVROW01,"Lanternhill Tin Lamp Q7, Green",$19.99\n',
    )
    const { url } = await sandboxProcess([
      ...args,
      ...['--config', join(data, 'config.json'), '--catalogue', join(data, 'list.csv'), '--latency-ms', '5'],
    ])
    const client = requests(url)
    expect(await client.get('/sandbox/prices')).toMatchObject({ 'ebay.search': 7, 'oxylabs.ebay': 6000 })
    expect(await client.get('/sandbox/faults')).toMatchObject({ rules: [{ kind: 'quota' }] })
    expect(await client.get('/sandbox/truth/sellers?asin=B0CSVROW01')).toMatchObject({ priceCents: 1999 })
  })

  it('ends with status 2 and says why when an argument is wrong', async () => {
    const { data, args } = place()
    writeFileSync(join(data, 'bad.json'), '{"ebay":{"dailyQuotas":1}}')
    const cases: [string[], string][] = [
      [[], '--data DIR is needed'],
      [[...args, '--port', 'x'], '--port must be a whole number'],
      [[...args, '--bogus'], '--bogus'],
      [[...args, '--config', join(data, 'bad.json')], 'dailyQuotas'],
      [[...args, '--config', join(data, 'none.json')], 'cannot read'],
      [['--data', data, '--categories', join(data, 'none.json')], 'cannot read the category file'],
    ]
    const results = await Promise.all(cases.map(([given]) => runMain(given)))
    for (const [i, [given, message]] of cases.entries()) {
      const { code, stderr } = results[i] ?? { code: null, stderr: '' }
      expect([code, stderr], given.join(' ')).toEqual([2, expect.stringContaining(message)])
    }
  })
})
