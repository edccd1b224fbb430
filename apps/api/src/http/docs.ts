/** /docs: the contract as a page, from this server alone, and the catalogue of problems. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { FastifyInstance, FastifyReply } from 'fastify'
import { ROOT_DIR } from '../base/config.ts'
import { AppError } from '../base/errors.ts'
import type { HttpDeps } from './route.ts'

/** The committed document; a test compares it with the routes. */
export const OPENAPI_FILE = join(ROOT_DIR, 'apps', 'api', 'openapi.json')

/** Styles are made by the reference's own script; everything else comes from this server, and nothing goes elsewhere. */
const PAGE_POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; " +
  "connect-src 'self'; worker-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

const SETTINGS = {
  withDefaultFonts: false,
  telemetry: false,
  hideClientButton: true,
  agent: { disabled: true },
  mcp: { disabled: true },
}

/** Serves the document at /api/v1/openapi.json and its reference at /docs. */
export async function docsPages(app: FastifyInstance, _deps: HttpDeps): Promise<void> {
  app.get('/api/v1/openapi.json', async (_request, reply) =>
    reply
      .header('cache-control', 'no-cache')
      .type('application/json; charset=utf-8')
      .send(await readFile(OPENAPI_FILE, 'utf8')),
  )
  app.get('/docs', async (_request, reply) => page(reply, REFERENCE))
  app.get('/docs/problems', async (_request, reply) => page(reply, await problemsPage()))
  await app.register(async (scope) => {
    const { default: reference } = await import('@scalar/fastify-api-reference')
    // Of the plugin only its script is served: its own page would carry a script of its own, which the policy forbids.
    scope.addHook('onRequest', async (request) => {
      if (request.routeOptions.url !== '/docs/reference/js/scalar.js') {
        throw new AppError('request.route_unknown', 'There is no such address.', { hint: 'See /docs.' })
      }
    })
    await scope.register(reference, {
      routePrefix: '/docs/reference',
      configuration: { url: '/api/v1/openapi.json' },
      logLevel: 'silent',
    })
  })
}

function page(reply: FastifyReply, html: string): FastifyReply {
  return reply.header('content-security-policy', PAGE_POLICY).type('text/html; charset=utf-8').send(html)
}

const escape = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;')

const head = (title: string): string =>
  `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>${title}</title>` +
  '<meta name="viewport" content="width=device-width, initial-scale=1"></head>'

const REFERENCE = `${head('Gleaner API')}<body>
<script id="api-reference" data-url="/api/v1/openapi.json" data-configuration="${escape(JSON.stringify(SETTINGS))}"></script>
<script src="/docs/reference/js/scalar.js"></script></body></html>`

/** docs/errors.md as a page: each code can be linked to. */
async function problemsPage(): Promise<string> {
  const text = await readFile(join(ROOT_DIR, 'docs', 'errors.md'), 'utf8')
  const rows = [...text.matchAll(/^\| `([a-z]+\.[a-z_]+)` \| \d \| (\d{3}) \| (.+?) \| (.+?) \|$/gm)]
  const body = rows.map(
    ([, code = '', status = '', means = '', act = '']) =>
      `<dt id="${code}"><code>${code}</code> ${status}</dt><dd>${escape(means)}<br>${escape(act)}</dd>`,
  )
  return `${head('Gleaner: problems')}<body><main><h1>Problems</h1><dl>${body.join('\n')}</dl></main></body></html>`
}
