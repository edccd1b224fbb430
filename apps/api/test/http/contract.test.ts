/** The contract: committed, true, and fit to be read. */
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { ROOT_DIR } from '../../src/base/config.ts'
import { OPENAPI_FILE } from '../../src/http/docs.ts'
import { openApiDocument } from '../../src/http/openapi.ts'
import { allRoutes } from '../../src/http/routes.ts'

const text = readFileSync(OPENAPI_FILE, 'utf8')

it('is what the routes give (else: npm run generate)', () => {
  const { info } = JSON.parse(text) as { info: { version: string } }
  expect(JSON.parse(text)).toEqual(openApiDocument(allRoutes, info.version))
})

it("keeps Redocly's recommended rules, without a warning", { timeout: 60_000 }, () => {
  const redocly = join(ROOT_DIR, 'node_modules', '.bin', 'redocly')
  const { stdout } = spawnSync(redocly, ['lint', OPENAPI_FILE, '--format', 'json'], {
    cwd: ROOT_DIR,
    encoding: 'utf8',
    env: { ...process.env, REDOCLY_TELEMETRY: 'off', REDOCLY_SUPPRESS_UPDATE_NOTICE: 'true' },
  })
  expect(JSON.parse(stdout)).toMatchObject({ totals: { errors: 0, warnings: 0 }, problems: [] })
})

it('describes every field of every schema’s own, every parameter and every operation', () => {
  const { paths, tags } = JSON.parse(text) as {
    tags: { name: string; description: string }[]
    paths: Record<
      string,
      Record<
        string,
        { summary: string; description: string; tags: string[]; parameters: { description?: string; name: string }[] }
      >
    >
  }
  for (const [path, methods] of Object.entries(paths)) {
    for (const [method, { summary, description, tags: own, parameters }] of Object.entries(methods)) {
      expect([path, method, summary.length > 5, description.length > 20, own.length]).toEqual([
        path,
        method,
        true,
        true,
        1,
      ])
      expect([path, parameters.filter((one) => !one.description).map(({ name }) => name)]).toEqual([path, []])
    }
  }
  expect(tags.every(({ description }) => description.length > 10)).toBe(true)
})
