/** The head of a suite that works in an arena. */
import { afterAll, beforeAll } from 'vitest'
import { type Arena, makeArena } from './arena.ts'

/** Three sellers, where a test needs some and does not care who they are: enough that a search goes no further. */
export const three: readonly string[] = ['anna', 'bert', 'carl']

/** An arena of this file, made before its tests and closed after them. There is nothing in it before. */
export function useArena(): Arena {
  let made: Arena | undefined
  beforeAll(async () => {
    made = await makeArena()
  })
  afterAll(() => made?.close())
  return new Proxy({} as Arena, {
    get: (_, key) => {
      if (!made) throw new Error('the arena is made before the tests of this file, not while it is read')
      return made[key as keyof Arena]
    },
  })
}
