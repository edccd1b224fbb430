/**
 * Every route, every role, every foreign id: from the list of routes itself, so a new route is tried as soon as it is declared.
 * Then once more with every condition on the organisation taken out of every statement: row level security alone decides.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Role } from '../../src/db/session.ts'
import { problemStatuses } from '../../src/http/openapi.ts'
import type { Principal } from '../../src/http/principal.ts'
import { isOfOrg, type Route } from '../../src/http/route.ts'
import { allRoutes } from '../../src/http/routes.ts'
import { scopeOf } from '../../src/http/scopes.ts'
import { addressOf, nowhereIn, requestOf, samplesOf } from './samples.ts'
import { type Door, keyOf, makeDoor, ROLES } from './support.ts'

const rank = (role: Role) => ROLES.indexOf(role)
const named = (routes: readonly Route[]) => routes.map((route) => [route.operationId, route] as const)
const ofOrg = allRoutes.filter(isOfOrg)
const ofRun = ofOrg.filter((route) => /\{(?!orgId)/.test(route.path))

/** Keys are sent away from what is for people only before anything is looked at. */
const mayAsk = (route: Route) => (who: string | Principal) => typeof who === 'string' || scopeOf(route) !== null

/** Provider accounts are the installation's: their ids are everybody's, and so are no proof of a leak. */
const ofOurs = ofRun.filter((route) => !route.path.includes('{accountId}'))
const ownIds = ({ accountId: _shared, ...own }: Record<string, string>): string[] => Object.values(own)

/** Statuses a route may answer with. */
const declared = (route: Route): number[] => [...Object.keys(route.answers).map(Number), ...problemStatuses(route)]

describe('every route', () => {
  it('has an operation of its own, and an example for its body that its schema takes', () => {
    expect(new Set(allRoutes.map((route) => route.operationId)).size).toBe(allRoutes.length)
    for (const { body, bodyExample, operationId } of allRoutes.filter((route) => route.body)) {
      expect([operationId, body?.safeParse(bodyExample).error]).toEqual([operationId, undefined])
    }
  })
})

describe('who may', () => {
  let door: Door
  beforeAll(async () => {
    door = await makeDoor()
  })
  afterAll(() => door.close())

  let still: Promise<Record<string, string>> | undefined
  /** Its address; for what changes something, of new things. */
  const line = async (route: Route) => {
    still ??= samplesOf(door, door.org)
    const values = route.method === 'GET' ? await still : await samplesOf(door, door.org)
    return `${route.method} ${addressOf(route, values)}`
  }

  it.each(named(allRoutes.filter((route) => route.access !== 'public')))('%s: not nobody', async (_, route) => {
    expect((await door.ask(null, await line(route), requestOf(route))).status).toBe(401)
  })

  it.each(named(ofOrg))('%s: each role and key from its least role on', async (_, route) => {
    for (const role of ROLES) {
      for (const who of [door.people[role], keyOf(door.people.owner, door.org, role)]) {
        const { status, text } = await door.ask(who, await line(route), requestOf(route))
        // What is for people only, no key may.
        const may = rank(role) >= rank(route.access as Role) && (typeof who === 'string' || scopeOf(route) !== null)
        expect([role, status, text]).toEqual([role, may ? expect.toSatisfy((s) => s !== 403 && s < 500) : 403, text])
        expect(declared(route)).toContain(status)
      }
    }
  })

  it.each(named(ofOrg))('%s: nobody of another organisation', async (_, route) => {
    const address = await line(route)
    const outsiders = [
      door.stranger,
      keyOf(door.stranger, door.theirs, 'owner'),
      keyOf(door.both, door.theirs, 'owner'),
    ]
    for (const who of outsiders.filter(mayAsk(route))) {
      const { status, body } = await door.ask(who, address, requestOf(route))
      expect([status, body['code']]).toEqual([404, 'org.unknown'])
    }
  })

  it.each(named(ofRun))('%s: no id there is none of', async (_, route) => {
    const address = addressOf(route, nowhereIn(door.org))
    expect((await door.ask(door.people.owner, `${route.method} ${address}`, requestOf(route))).status).toBe(404)
  })
})

/** `org_id = $1`, with any alias, as something that is true and still uses its parameter. */
const ORG_FILTER = /(?<![\w.])(?:\w+\.)?org_id = (\$\d+)(?!\d)/g

describe('with every condition on the organisation taken out', () => {
  const forgotten = new Set<string>()
  let door: Door
  let before: unknown
  beforeAll(async () => {
    door = await makeDoor({
      rewrite: (sql) => {
        if (!/^\s*(select|with)/.test(sql) || !sql.match(ORG_FILTER)) return sql
        forgotten.add(sql)
        return sql.replaceAll(ORG_FILTER, '($1::uuid is not null)')
      },
    })
  })
  afterAll(() => door.close())

  /** Everything there is of our organisation, to compare. */
  const everything = () =>
    door.arena.rows(
      `select r.*, (select count(*) from audit_log a where a.org_id = r.org_id) as acts from collection_runs r where org_id = $1 order by id`,
      [door.org],
    )

  it.each(named(ofOurs))('%s: our ids are nothing in another organisation', async (_, route) => {
    const ours = await samplesOf(door, door.org)
    before = await everything()
    const address = addressOf(route, { ...ours, orgId: door.theirs })
    for (const who of [door.stranger, door.both, keyOf(door.both, door.theirs, 'owner')].filter(mayAsk(route))) {
      const { status, text } = await door.ask(who, `${route.method} ${address}`, requestOf(route))
      expect([status, text]).toEqual([404, text])
      for (const id of ownIds(ours).filter((one) => one !== door.theirs)) expect(text).not.toContain(id)
    }
    expect(await everything()).toEqual(before)
  })

  it.each(named(ofOrg.filter((route) => route.method === 'GET')))('%s: shows nothing of ours', async (_, route) => {
    const ours = await samplesOf(door, door.org)
    const theirs = await samplesOf(door, door.theirs)
    for (const who of [door.stranger, door.both, keyOf(door.both, door.theirs, 'owner')]) {
      const { status, text } = await door.ask(who, `GET ${addressOf(route, theirs)}`, requestOf(route))
      expect([status, text]).toEqual([200, text])
      for (const id of [...ownIds(ours), door.people.viewer]) expect(text).not.toContain(id)
    }
  })

  it('did take some out', () => {
    expect(forgotten.size).toBeGreaterThan(5)
  })
})
