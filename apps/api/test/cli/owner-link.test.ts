import { statSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Installation, installation, type Running } from './support.ts'

let installed: Installation
let server: Running
let told: { api: string; ownerLink?: string }
beforeAll(async () => {
  installed = installation()
  server = installed.start('--json', 'serve', '--port', '0')
  told = JSON.parse(await server.line((line) => line.includes('"api"'))) as typeof told
})
afterAll(async () => {
  server.child.kill('SIGTERM')
  await server.ended
  await installed.remove()
})

const open = (link: string) =>
  fetch(`${told.api}/api/v1/auth/owner-link`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ token: new URL(link).hash.slice(1) }),
  })

describe('the link of the owner', () => {
  it('is printed by the first server, and lets in the owner of what the command line made', async () => {
    expect(told.ownerLink).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/welcome#[A-Za-z0-9_-]{43}$/)
    const opened = await open(told.ownerLink ?? '')
    expect(opened.status).toBe(200)
    const cookie = opened.headers.getSetCookie()[0]?.split(';')[0] ?? ''
    const me = (await (await fetch(`${told.api}/api/v1/me`, { headers: { cookie } })).json()) as {
      orgs: { name: string }[]
    }
    expect(me.orgs.map(({ name }) => name)).toEqual(['My agency'])
    expect((await open(told.ownerLink ?? '')).status).toBe(410)
  })

  it('is printed again by gleaner owner-link, at the address people know', async () => {
    const { link } = await installed.json<{ link: string }>(['owner-link'])
    expect(link).toMatch(/^http:\/\/localhost:4317\/welcome#/)
    expect((await open(link)).status).toBe(200)
    const plain = await installed.run('owner-link', '--port', '8080')
    expect(plain.out.trim()).toMatch(/^http:\/\/localhost:8080\/welcome#[A-Za-z0-9_-]{43}$/)
    expect(plain.status).toBe(0)
  })

  it('is not printed once somebody can sign in', async () => {
    const second = installed.start('--json', 'serve', '--port', '0')
    const line = JSON.parse(await second.line((one) => one.includes('"api"'))) as typeof told
    second.child.kill('SIGTERM')
    await second.ended
    expect(line.ownerLink).toBeUndefined()
  })

  it('stands on the key of the installation, which nobody else may read', () => {
    expect(statSync(join(installed.dir, 'installation.key')).mode & 0o777).toBe(0o600)
  })
})
