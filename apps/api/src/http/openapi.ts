/** The OpenAPI 3.1 document, from the declared routes alone: `npm run generate` writes it, a test compares it. */
import { z } from 'zod'
import { ERRORS, type ErrorCode } from '../base/errors.ts'
import { problem } from './problems.ts'
import { type AnswerDef, isOfOrg, isWrite, type Route, type Tag } from './route.ts'

type Json = Record<string, unknown>

const TAGS: Readonly<Record<Tag, string>> = {
  Organisations: 'Whom runs and sellers belong to, who belongs to it, in which role.',
  People: 'The person who is signed in: who they are, their sessions.',
  Keys: 'API keys: for programs, each for one organisation, up to one role.',
  Settings: 'What a new run starts with: caps, soft warning, runs at once, filters.',
  Providers: 'Accounts at metered providers: prices, quota, how they may be called now.',
  Categories: 'The tree of Amazon best-seller lists.',
  Runs: 'Collections under a cap: what they will cost, starting and stopping them, how they stand, what they did.',
  Sellers: 'The master list, with the evidence for each seller.',
  Exports: 'Files of any size.',
  Live: 'Events as they happen.',
  Audit: 'Who did what, when, from what to what.',
  Compliance: 'Erasing sellers, not collecting them, telling what is stored of one.',
  Operation: 'Health of this installation.',
}

const ABOUT = `Gleaner collects eBay sellers for Amazon best sellers under a hard cap.

Amounts are integers of micro-dollars (1 USD = 1,000,000), in fields that end in \`Micros\`. Times are ISO 8601 in UTC. Ids are
UUIDs. Lists are paged by cursor: ask again with \`cursor\` set to \`next\` or \`previous\`. Fields and parameters that are not
documented are refused.

Every write takes an \`Idempotency-Key\`: sent again within 24 hours with the same key, it is not done again and answered the same,
with the header \`idempotent-replay: true\`. A write that was refused left nothing and is tried anew.

Refusals are problem documents (RFC 9457); their \`code\` never changes. \`/docs/problems\` lists all of them.`

/** The document for `routes`. */
export function openApiDocument(routes: readonly Route[], version: string): Json {
  const schemas = new Map<string, unknown>()
  const toSchema = schemaMaker(schemas)
  const shown = routes.filter((route) => !route.hidden)
  const paths: Record<string, Json> = {}
  for (const route of shown) {
    paths[route.path] = { ...paths[route.path], [route.method.toLowerCase()]: operation(route, toSchema) }
  }
  const used = new Set(shown.map((route) => route.tag))
  const problemSchema = toSchema(problem)
  return {
    openapi: '3.1.0',
    info: {
      title: 'Gleaner',
      version,
      summary: 'Sellers collected under a hard cap.',
      description: ABOUT,
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: [{ url: '/', description: 'This installation.' }],
    security: [{ bearer: [] }, { session: [] }],
    tags: Object.entries(TAGS)
      .filter(([name]) => used.has(name as Tag))
      .map(([name, description]) => ({ name, description })),
    paths: Object.fromEntries(Object.entries(paths).sort(([a], [b]) => (a < b ? -1 : 1))),
    components: {
      securitySchemes: {
        bearer: {
          type: 'http',
          scheme: 'bearer',
          description: 'An API key, or an access token of the identity provider.',
        },
        session: { type: 'apiKey', in: 'cookie', name: 'gleaner.session_token', description: 'A signed-in browser.' },
      },
      responses: Object.fromEntries(
        [...problemsUsed(shown)]
          .toSorted((a, b) => a - b)
          .map((status) => [nameOf(status), problemAnswer(status, problemSchema)]),
      ),
      schemas: Object.fromEntries([...schemas].sort(([a], [b]) => (a < b ? -1 : 1))),
    },
  }
}

/** Schemas with an id become components, others stand where they are used. What goes over the wire: the input of codecs. */
function schemaMaker(components: Map<string, unknown>): (schema: z.ZodType) => Json {
  return (schema) => {
    // As the field of another one, so that a schema with an id becomes a reference like any other.
    const json = z.toJSONSchema(z.object({ it: schema }), { io: 'input', unrepresentable: 'any' }) as unknown as {
      properties: { it: Json }
      $defs?: Record<string, Json>
    }
    for (const [name, { id: _id, ...inner }] of Object.entries(json.$defs ?? {})) components.set(name, relink(inner))
    return relink(json.properties.it) as Json
  }
}

/** References into the components of the document. */
function relink(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(relink)
  if (value === null || typeof value !== 'object') return value
  return Object.fromEntries(
    Object.entries(value).map(([name, inner]) =>
      name === '$ref' ? [name, String(inner).replace('#/$defs/', '#/components/schemas/')] : [name, relink(inner)],
    ),
  )
}

function operation(route: Route, toSchema: (schema: z.ZodType) => Json): Json {
  const statuses = problemStatuses(route)
  return {
    operationId: route.operationId,
    tags: [route.tag],
    summary: route.summary,
    description: `${route.description}\n\n${whoMay(route)}${refusesWords(route)}`,
    ...(route.access === 'public' ? { security: [] } : {}),
    parameters: parameters(route, toSchema),
    ...(route.body ? { requestBody: requestBody(route, route.body, toSchema) } : {}),
    responses: {
      ...Object.fromEntries(
        Object.entries(route.answers).map(([status, answer]) => [status, okAnswer(answer, toSchema)]),
      ),
      ...Object.fromEntries(statuses.map((status) => [status, { $ref: `#/components/responses/${nameOf(status)}` }])),
    },
  }
}

function whoMay({ access }: Route): string {
  if (access === 'public') return 'Anybody may.'
  if (access === 'signed-in') return 'Whoever is signed in may.'
  return `Needs the role \`${access}\` in the organisation, or a higher one.`
}

function refusesWords({ refuses = [] }: Route): string {
  return refuses.length === 0 ? '' : ` May be refused with ${refuses.map((code) => `\`${code}\``).join(', ')}.`
}

const orgParameter = {
  name: 'orgId',
  in: 'path',
  required: true,
  description: 'The organisation.',
  schema: { type: 'string', format: 'uuid' },
}

function parameters(route: Route, toSchema: (schema: z.ZodType) => Json): Json[] {
  const all: Json[] = isOfOrg(route) ? [orgParameter] : []
  all.push(...fieldsOf(route.params, 'path', toSchema), ...fieldsOf(route.query, 'query', toSchema))
  if (isWrite(route) && route.access !== 'public' && route.transaction === 'write') {
    all.push({
      name: 'Idempotency-Key',
      in: 'header',
      required: false,
      description: 'Made for this one request, such as a UUID; kept for 24 hours.',
      schema: { type: 'string', minLength: 1, maxLength: 200, pattern: '^[\\x21-\\x7e]+$' },
    })
  }
  if (Object.values(route.answers).some(({ frame }) => frame)) {
    all.push({
      name: 'Last-Event-ID',
      in: 'header',
      required: false,
      description:
        'The id of the last event that came, to go on after it. Browsers send it by themselves; it counts more than `after`.',
      schema: { type: 'string', maxLength: 16 },
    })
  }
  if (route.versioned) {
    all.push({
      name: 'If-Match',
      in: 'header',
      required: true,
      description: 'The `etag` of the version that is changed.',
      schema: { type: 'string', minLength: 1, maxLength: 200 },
    })
  }
  return all
}

function fieldsOf(
  schema: z.ZodType | undefined,
  where: 'path' | 'query',
  toSchema: (schema: z.ZodType) => Json,
): Json[] {
  const shape = (schema as z.ZodObject | undefined)?.shape ?? {}
  return Object.entries(shape).map(([name, field]) => {
    const { description, ...json } = toSchema(field as z.ZodType)
    const required = where === 'path' || !(field as z.ZodType).safeParse(undefined).success
    return {
      name,
      in: where,
      required,
      ...(description === undefined ? {} : { description }),
      schema: json,
      ...(where === 'query' && json['type'] === 'array' ? { style: 'form', explode: true } : {}),
    }
  })
}

function requestBody(route: Route, body: z.ZodType, toSchema: (schema: z.ZodType) => Json): Json {
  const example = route.bodyExample === undefined ? {} : { example: route.bodyExample }
  return { required: true, content: { 'application/json': { schema: toSchema(body), ...example } } }
}

function okAnswer(answer: AnswerDef, toSchema: (schema: z.ZodType) => Json): Json {
  const headers = Object.entries(answer.headers ?? {}).map(([name, description]) => [
    name,
    { description, schema: { type: 'string' } },
  ])
  const example = answer.example === undefined ? {} : { example: answer.example }
  const content = answer.stream
    ? { content: { [answer.stream.split(';')[0] ?? '']: { schema: frameOf(answer, toSchema), ...example } } }
    : answer.schema
      ? { content: { 'application/json': { schema: toSchema(answer.schema), ...example } } }
      : {}
  return {
    description: answer.description,
    ...(headers.length > 0 ? { headers: Object.fromEntries(headers) } : {}),
    ...content,
  }
}

/** Of an event stream its frames, one by one, as those who write clients expect it; of another stream nothing is said. */
function frameOf({ frame }: AnswerDef, toSchema: (schema: z.ZodType) => Json): Json {
  return frame ? toSchema(frame) : { type: 'string' }
}

/** The statuses with which a route may refuse. */
export function problemStatuses(route: Route): number[] {
  const statuses = new Set<number>([400, 429, 500, 503])
  for (const code of route.refuses ?? []) statuses.add(ERRORS[code].status)
  // 403: a key that was not made for it.
  if (route.access !== 'public') for (const status of [401, 403]) statuses.add(status)
  if (isOfOrg(route)) for (const status of [403, 404]) statuses.add(status)
  if (route.params) statuses.add(404)
  if (isWrite(route)) {
    for (const status of [403, 408, 413, 415]) statuses.add(status)
    if (route.transaction === 'write' && route.access !== 'public') {
      statuses.add(422)
      if (route.repeats === 'secret') statuses.add(409)
    }
  }
  if (route.versioned) for (const status of [412, 428]) statuses.add(status)
  return [...statuses].toSorted((a, b) => a - b)
}

function problemsUsed(routes: readonly Route[]): Set<number> {
  return new Set(routes.flatMap(problemStatuses))
}

const NAMES: Readonly<Record<number, readonly [name: string, description: string, code: ErrorCode]>> = {
  400: ['WrongInput', 'The input is wrong; `errors` names the fields.', 'input.invalid'],
  401: ['NotSignedIn', 'Nobody is signed in, or the credentials are not valid any more.', 'auth.required'],
  403: ['NotAllowed', 'The role does not allow it, or the request came from another site.', 'auth.role_too_low'],
  404: ['NotFound', 'There is no such thing, or not in this organisation.', 'run.not_found'],
  408: ['TooSlow', 'The request did not arrive in time.', 'request.too_slow'],
  409: ['NotPossibleNow', 'Not possible in this state.', 'run.wrong_state'],
  410: ['Gone', 'The link was used, was revoked, or is old.', 'auth.link_invalid'],
  412: ['ChangedMeanwhile', 'Somebody else changed it since it was read.', 'request.precondition_failed'],
  413: ['TooLarge', 'The body is larger than the route takes.', 'request.too_large'],
  415: ['OtherKind', 'The body is of a kind the route does not take.', 'request.media_type'],
  422: ['KeyReused', 'The Idempotency-Key was used for another request.', 'request.key_reused'],
  428: ['VersionMissing', '`if-match` is missing.', 'request.precondition_missing'],
  429: ['TooMany', 'Too many requests; `retry-after` says in how many seconds to come back.', 'request.too_many'],
  500: ['Fault', 'A fault in Gleaner; the log has the details under `instance`.', 'server.fault'],
  503: ['Busy', 'The database cannot be used, or the server is stopping.', 'server.busy'],
}

function nameOf(status: number): string {
  const known = NAMES[status]
  if (!known) throw new Error(`no name for answers with ${status}`)
  return known[0]
}

function problemAnswer(status: number, schema: Json): Json {
  const [, description, code] = NAMES[status] ?? ['', '', 'server.fault' as ErrorCode]
  const words = code.replaceAll(/[._]/g, ' ')
  const example = {
    type: `/docs/problems#${code}`,
    title: words.charAt(0).toUpperCase() + words.slice(1),
    status,
    code,
    detail: description,
    instance: '0198c2f4-7d1e-7a3b-9c55-0a1b2c3d4e5f',
  }
  return { description, content: { 'application/problem+json': { schema, example } } }
}
