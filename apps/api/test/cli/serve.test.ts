/** gleaner serve as people run it: up, asked, asked to stop. */
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Installation, installation } from './support.ts'

let place: Installation
beforeAll(() => {
  place = installation()
})
afterAll(() => place.remove())

it('says where it is, answers, lets nobody in who is nobody, and ends cleanly', async () => {
  const up = place.start('serve', '--port', '0', '--json')
  const line = await up.line((text) => text.startsWith('{"api"'))
  const { api } = JSON.parse(line) as { api: string }
  expect(api).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/)
  expect((await fetch(`${api}/readyz`)).status).toBe(200)
  expect((await fetch(`${api}/docs`)).status).toBe(200)
  expect((await fetch(`${api}/api/v1/orgs`)).status).toBe(401)
  const taken = await place.run('serve', '--port', new URL(api).port)
  expect([taken.status, taken.err]).toEqual([2, expect.stringContaining('in use')])
  up.child.kill('SIGTERM')
  expect((await up.ended).status).toBe(0)
})
