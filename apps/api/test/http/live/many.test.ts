import { once } from 'node:events'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import type { ServerProcess } from './server-process.ts'
import { type Frame, makeParser } from './sse.ts'
import { makeStage, numbers, type Stage } from './stage.ts'

// Longer than any wait within: a busy machine is no failure.
vi.setConfig({ testTimeout: 240_000 })

let stage: Stage
beforeAll(async () => {
  stage = await makeStage()
})
afterAll(() => stage.close())

const withId = (id: string | number) => (frame: Frame) => frame.event === 'message' && frame.id === String(id)
const lastPosition = async (): Promise<number> => {
  const sql = 'select last_position as at from collection_positions where org_id = $1'
  return (await stage.arena.rows<{ at: number }>(sql, [stage.orgId]))[0]?.at ?? 0
}

describe('fifty viewers', () => {
  it('get each number once and in order, whichever stream they watch; the database is asked as often as for one', async () => {
    const server = await stage.start()
    const runs = await Promise.all([1, 2, 3].map(() => stage.makeRun()))
    const people = await Promise.all([1, 2, 3].map(() => stage.makeMember()))
    const from = await lastPosition()
    const readers = await Promise.all(
      Array.from({ length: 50 }, (_, index) => {
        const run = runs[index % 3]
        const where = index % 2 === 0 ? { orgId: stage.orgId, runId: run?.id ?? '' } : { orgId: stage.orgId }
        return server.read(people[index % 3] ?? '', where)
      }),
    )
    const begun = performance.now()
    const { asked } = await server.facts()
    await Promise.all(runs.map((run) => stage.tell(run.id, 100)))
    const to = await lastPosition()
    const ends = await Promise.all(runs.map((run) => stage.seqOf(run.id)))
    await Promise.all(
      readers.map((reader, index) => reader.until(withId(index % 2 === 0 ? (ends[index % 3] ?? 0) : `o${to}`))),
    )
    const seconds = (performance.now() - begun) / 1000
    for (const [index, reader] of readers.entries()) {
      expect(reader.ids()).toEqual(index % 2 === 0 ? numbers(1, ends[index % 3] ?? 0) : numbers(from + 1, to, 'o'))
    }
    const { asked: now, viewers } = await server.facts()
    expect(viewers).toBe(50)
    // Ten looks for events a second and four for figures, for all of them together.
    expect((now - asked) / seconds).toBeLessThan(16)
    for (const reader of readers) reader.close()
    await expect.poll(async () => (await server.facts()).viewers, { timeout: 60_000 }).toBe(0)
    const { asked: atRest } = await server.facts()
    await sleep(500)
    expect((await server.facts()).asked - atRest).toBeLessThanOrEqual(2)
    await server.kill()
  })
})

describe('a server that is killed', () => {
  it('leaves readers who go on at another one without a gap and without a repeat', async () => {
    const run = await stage.makeRun()
    const from = await lastPosition()
    const seen: Record<'run' | 'org', string[]> = { run: [], org: [] }
    let isLast = false
    const tellOn = async (): Promise<void> => {
      while (!isLast) await stage.tell(run.id, 1)
    }
    const telling = tellOn()
    onTestFinished(() => {
      isLast = true
    })
    const last: Partial<Record<'run' | 'org', string>> = {}
    for (let life = 1; life <= 3; life++) {
      const server = await stage.start()
      const [ofRun, ofOrg] = await Promise.all([
        server.read(stage.owner, { orgId: stage.orgId, runId: run.id }, last.run),
        server.read(stage.owner, { orgId: stage.orgId, after: `o${from}` }, last.org),
      ])
      if (life === 3) {
        isLast = true
        await telling
        await ofRun.until(withId(await stage.seqOf(run.id)))
        await ofOrg.until(withId(`o${await lastPosition()}`))
      } else {
        await Promise.all([ofRun, ofOrg].map((reader) => reader.until(({ event }) => event === 'message')))
        await sleep(100 * life)
      }
      await server.kill()
      expect(await ofRun.ended).toBe(false)
      await ofOrg.ended
      seen.run.push(...ofRun.ids())
      seen.org.push(...ofOrg.ids())
      last.run = ofRun.lastId()
      last.org = ofOrg.lastId()
    }
    expect(seen.run).toEqual(numbers(1, await stage.seqOf(run.id)))
    expect(seen.org).toEqual(numbers(from + 1, await lastPosition(), 'o'))
  })
})

describe('a server that stops', () => {
  it('ends its streams with a time to come again, and is gone at once', async () => {
    const server = await stage.start()
    const run = await stage.makeRun()
    const readers = await Promise.all([
      server.read(stage.owner, { orgId: stage.orgId, runId: run.id }),
      server.read(stage.owner, { orgId: stage.orgId }),
    ])
    await Promise.all(readers.map((reader) => reader.until(({ event }) => event === 'open')))
    const from = performance.now()
    expect(await server.stop()).toBe(0)
    expect(performance.now() - from).toBeLessThan(9_000)
    for (const reader of readers) {
      expect(await reader.ended).toBe(true)
      expect(reader.frames.at(-1)).toMatchObject({ event: 'later', data: { reason: 'stopping' } })
      expect(reader.retryMs()).toBeGreaterThanOrEqual(500)
    }
  })
})

describe('a reader who does not read', () => {
  it('costs the others nothing and the server little, and gets everything once it reads', async () => {
    const server = await stage.start()
    const run = await stage.makeRun()
    const slow = await slowReader(server, run.id)
    const fast = await Promise.all([1, 2, 3].map(() => server.read(stage.owner, { orgId: stage.orgId, runId: run.id })))
    await fast[0]?.until(({ event }) => event === 'open')
    const before = await server.facts()
    // 28 MB: more than the sockets of the machine hold, and many times what the process remembers.
    await stage.fill(run.id, 7_000, 4_000)
    const last = await stage.seqOf(run.id)
    await Promise.all(fast.map((reader) => reader.until(withId(last))))
    for (const reader of fast) expect(reader.ids()).toEqual(numbers(1, last))
    const after = await server.facts()
    const grown = (after.heapUsed + after.external - before.heapUsed - before.external) / 2 ** 20
    expect(grown).toBeLessThan(16)
    expect(slow.ids().length).toBeLessThan(last)
    slow.read()
    await slow.until(last)
    expect(slow.ids()).toEqual(numbers(1, last))
    slow.close()
    for (const reader of fast) reader.close()
    await server.kill()
  })
})

/** Connects, reads the answer's head, and then nothing until told. */
async function slowReader(server: ServerProcess, runId: string) {
  const url = new URL(server.address({ orgId: stage.orgId, runId }))
  const socket = connect(Number(url.port), url.hostname)
  await once(socket, 'connect')
  socket.write(`GET ${url.pathname} HTTP/1.1\r\nhost: ${url.host}\r\nauthorization: Bearer ${stage.owner}\r\n\r\n`)
  const ids: string[] = []
  const waiting: (() => void)[] = []
  const parser = makeParser(({ event, id }) => {
    if (event !== 'message') return
    ids.push(id)
    for (const look of waiting) look()
  })
  await once(socket, 'readable')
  let head = ''
  const chunks = makeDechunker((text) => parser.take(text))
  return {
    ids: () => ids,
    read: () => {
      socket.on('data', (bytes: Buffer) => {
        const text = bytes.toString('latin1')
        if (head.includes('\r\n\r\n')) return chunks(text)
        head += text
        const end = head.indexOf('\r\n\r\n')
        if (end >= 0) chunks(head.slice(end + 4))
      })
      socket.resume()
    },
    until: (last: number) =>
      new Promise<void>((resolve, reject) => {
        const timer = setTimeout(() => reject(new Error(`only ${ids.length} of ${last}`)), 180_000)
        const look = (): void => {
          if (ids.at(-1) !== String(last)) return
          clearTimeout(timer)
          resolve()
        }
        waiting.push(look)
        look()
      }),
    close: () => socket.destroy(),
  }
}

/** The text within a chunked body (RFC 9112, 7.1). */
function makeDechunker(take: (text: string) => void): (text: string) => void {
  let rest = ''
  return (text) => {
    rest += text
    for (;;) {
      const end = rest.indexOf('\r\n')
      if (end < 0) return
      const size = Number.parseInt(rest.slice(0, end), 16)
      if (rest.length < end + 2 + size + 2) return
      take(rest.slice(end + 2, end + 2 + size))
      rest = rest.slice(end + 2 + size + 2)
    }
  }
}
