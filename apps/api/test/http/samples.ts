/** Things to put into the addresses of routes, for the tests that go through all of them. */
import { newId } from '../../src/base/ids.ts'
import type { Route } from '../../src/http/route.ts'
import type { Door } from './support.ts'

/** A value for each path parameter any route has, of things that are there in the organisation. */
export async function samplesOf(door: Door, orgId: string): Promise<Record<string, string>> {
  const run = await door.arena.makeRun({ products: 2, categories: ['a'], orgId })
  return { orgId, runId: run.id }
}

/** Values of the right form for things there are none of. */
export const nowhereIn = (orgId: string): Record<string, string> =>
  new Proxy({}, { get: (_, name) => (name === 'orgId' ? orgId : newId()) })

/** The address of the route with these values. Throws for a parameter without one: add it to `samplesOf`. */
export function addressOf(route: Pick<Route, 'path'>, values: Readonly<Record<string, string>>): string {
  return route.path.replaceAll(/\{(\w+)\}/g, (_, name: string) => {
    const value = values[name]
    if (value === undefined) throw new Error(`no sample for {${name}} of ${route.path}: add one to samples.ts`)
    return value
  })
}

/** What a request of the route carries: the example of its body, and any version. */
export function requestOf(route: Route): { body?: unknown; headers: Record<string, string> } {
  const headers: Record<string, string> = route.versioned ? { 'if-match': '*' } : {}
  return route.bodyExample === undefined ? { headers } : { body: route.bodyExample, headers }
}
