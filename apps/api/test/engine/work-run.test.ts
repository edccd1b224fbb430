import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Arena, asked, expectClean, found, makeArena, PRICE, searchWith, work } from './arena.ts'

let arena: Arena
beforeAll(async () => {
  arena = await makeArena()
})
afterAll(() => arena.close())

describe('a run', () => {
  it('is worked on until it is completed', async () => {
    const run = await arena.makeRun({ products: 30 })
    const search = searchWith((request) => found([`seller${asked(request).product % 7}`, 'everywhere', 'also']))
    const done = await work(arena, { run, search })
    expect(done).toMatchObject({ status: 'completed', foundItems: 30, spentMicros: 30 * PRICE, sellerItems: 9 })
    await expectClean(arena.db)
  })
})
