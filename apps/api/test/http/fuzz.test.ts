/**
 * Requests made from the contract alone, right ones and nearly right ones: none may end in a 5xx, and every answer is one the
 * contract declares, of its schema. So many as GLEANER_FUZZ_REQUESTS says, 300 otherwise; GLEANER_FUZZ_SEED repeats a walk.
 */
import { readFileSync } from 'node:fs'
import { Ajv2020 } from 'ajv/dist/2020.js'
import formats from 'ajv-formats'
import * as fc from 'fast-check'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { OPENAPI_FILE } from '../../src/http/docs.ts'
import { samplesOf } from './samples.ts'
import { type Door, keyOf, makeDoor, ROLES } from './support.ts'

type Schema = Readonly<Record<string, unknown>>
type Operation = Readonly<{
  method: string
  path: string
  parameters: readonly Readonly<{ name: string; in: string; required: boolean; schema: Schema }>[]
  body: Schema | null
  example: unknown
  responses: Readonly<Record<string, Schema>>
}>

const document = JSON.parse(readFileSync(OPENAPI_FILE, 'utf8')) as {
  paths: Record<string, Record<string, Record<string, unknown>>>
  components: { schemas: Record<string, Schema>; responses: Record<string, Schema> }
}
const ajv = new Ajv2020({ strict: false, allErrors: false })
;(formats as unknown as (on: Ajv2020) => void)(ajv)
ajv.addSchema({ ...document, $id: 'contract' })

const resolve = (schema: Schema): Schema => {
  const ref = schema['$ref']
  if (typeof ref !== 'string') return schema
  return ref
    .split('/')
    .slice(1)
    .reduce<Record<string, unknown>>((at, name) => at[name] as Record<string, unknown>, document as never)
}

const content = (of: unknown): Readonly<Record<string, { schema: Schema; example?: unknown }>> =>
  (of as { content?: Record<string, { schema: Schema }> } | undefined)?.content ?? {}

/** Streams of events end when their reader does: test/http/live reads them. */
const isStream = ({ responses }: Operation): boolean => 'text/event-stream' in content(responses['200'])

const ALL: readonly Operation[] = Object.entries(document.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({
    method: method.toUpperCase(),
    path,
    parameters: (operation['parameters'] ?? []) as Operation['parameters'],
    body: content(operation['requestBody'])['application/json']?.schema ?? null,
    example: content(operation['requestBody'])['application/json']?.example,
    responses: operation['responses'] as Record<string, Schema>,
  })),
)

const OPERATIONS = ALL.filter((operation) => !isStream(operation))

/** Text that has hurt others. */
const NASTY = [
  '',
  ' ',
  '0',
  '-1',
  'null',
  "' or 1=1 --",
  '\u202e',
  '😀',
  '\ud800',
  '%',
  '_',
  '\\',
  '../..',
  '{}',
  'true',
  'NaN',
  '1e999',
  '\u0000',
]

const anything = fc.oneof(
  fc.constantFrom<unknown>(null, true, -1, 1.5, 1e300, [], {}, ...NASTY),
  fc.string({ maxLength: 20 }),
  fc.jsonValue({ maxDepth: 2 }),
)

/** Values of the schema, as far as one can make them from it; once in a while something else. */
function valueOf(schema: Schema, wild: number): fc.Arbitrary<unknown> {
  const right = rightValue(resolve(schema), wild)
  return wild === 0 ? right : fc.oneof({ weight: 40, arbitrary: right }, { weight: wild, arbitrary: anything })
}

function rightValue(schema: Schema, wild: number): fc.Arbitrary<unknown> {
  if ('const' in schema) return fc.constant(schema['const'])
  if (Array.isArray(schema['enum'])) return fc.constantFrom(...(schema['enum'] as unknown[]))
  const either = (schema['anyOf'] ?? schema['oneOf']) as Schema[] | undefined
  if (either) return fc.oneof(...either.map((one) => valueOf(one, wild)))
  const num = (name: string, otherwise: number) =>
    typeof schema[name] === 'number' ? (schema[name] as number) : otherwise
  switch (schema['type']) {
    case 'null':
      return fc.constant(null)
    case 'boolean':
      return fc.boolean()
    case 'integer':
    case 'number': {
      const [min, max] = [num('minimum', -1000), num('maximum', 1e9)]
      const step = num('multipleOf', 1)
      return fc
        .integer({ min: Math.ceil(min / step), max: Math.min(Math.floor(max / step), 2 ** 31 - 1) })
        .map((value) => value * step)
    }
    case 'array': {
      const length = {
        minLength: num('minItems', 0),
        maxLength: Math.min(num('maxItems', 4), Math.max(num('minItems', 0), 4)),
      }
      return fc.array(valueOf((schema['items'] ?? {}) as Schema, wild), length)
    }
    case 'object': {
      const fields = Object.entries((schema['properties'] ?? {}) as Record<string, Schema>)
      const record = Object.fromEntries(fields.map(([name, field]) => [name, valueOf(field, wild)]))
      return fc.record(record, { requiredKeys: (schema['required'] ?? []) as string[] })
    }
    case 'string':
      return textOf(schema)
    default:
      return anything
  }
}

function textOf(schema: Schema): fc.Arbitrary<string> {
  if (schema['format'] === 'uuid') return fc.uuid()
  if (schema['format'] === 'date-time')
    return fc
      .date({ min: new Date('0001-01-02'), max: new Date('9999-12-30'), noInvalidDate: true })
      .map((date) => date.toISOString())
  const most = Math.min((schema['maxLength'] as number | undefined) ?? 40, 40)
  const least = (schema['minLength'] as number | undefined) ?? 0
  const free = fc.oneof(fc.string({ minLength: least, maxLength: Math.max(most, least) }), fc.constantFrom(...NASTY))
  const { pattern } = schema
  if (typeof pattern !== 'string') return free
  // What stringMatching cannot make is made freely.
  if (/\\p\{|\(\?/.test(pattern)) return free
  return fc.oneof({ weight: 5, arbitrary: fc.stringMatching(new RegExp(pattern)) }, { weight: 1, arbitrary: free })
}

let door: Door
let ours: Record<string, string>
beforeAll(async () => {
  door = await makeDoor()
  ours = await samplesOf(door, door.org)
})
afterAll(() => door.close())

const REQUESTS = Number(process.env['GLEANER_FUZZ_REQUESTS'] ?? 300)
const SEED = Number(process.env['GLEANER_FUZZ_SEED'] ?? Date.now() % 2 ** 31)

/** One request of any operation, by anybody. */
const requests = fc
  .tuple(
    fc.constantFrom(...OPERATIONS),
    fc.constantFrom(0, 1, 8),
    fc.constantFrom('viewer', 'admin', 'owner', 'owner', 'owner', 'key'),
    fc.boolean(),
  )
  .chain(([operation, wild, who, known]) => {
    const parameters = operation.parameters.map(({ name, in: where, schema, required }) => {
      const value = valueOf(schema, wild)
      const there = where === 'path' && known && name in { orgId: 1, runId: 1 } ? fc.constant(undefined) : value
      return fc.record({
        name: fc.constant(name),
        where: fc.constant(where),
        value: required ? there : fc.option(there, { nil: undefined, freq: 3 }),
      })
    })
    const body = operation.body
      ? fc.oneof(valueOf(operation.body, wild), fc.constant(operation.example))
      : wild > 1
        ? anything
        : fc.constant(undefined)
    return fc.record({
      operation: fc.constant(operation),
      who: fc.constant(who),
      parameters: fc.tuple(...parameters),
      body,
    })
  })

type Made = typeof requests extends fc.Arbitrary<infer T> ? T : never

const asText = (value: unknown): string => (typeof value === 'string' ? value : (JSON.stringify(value) ?? ''))
const encode = (value: unknown): string => encodeURIComponent(asText(value).toWellFormed())

async function send({ operation, who, parameters, body }: Made) {
  let path = operation.path
  const query: string[] = []
  const headers: Record<string, string> = {}
  for (const { name, where, value } of parameters) {
    if (where === 'path')
      path = path.replace(`{${name}}`, value === undefined ? (ours[name] ?? '') : encode(value) || 'x')
    else if (value === undefined) continue
    else if (where === 'query')
      for (const one of Array.isArray(value) ? value : [value]) query.push(`${name}=${encode(one)}`)
    else if (/^[\x20-\x7e]+$/.test(asText(value))) headers[name.toLowerCase()] = asText(value)
  }
  const role = ROLES.find((one) => one === who)
  const asking = role ? door.people[role] : keyOf(door.people.owner, door.org, 'admin')
  const line = `${operation.method} ${path}${query.length > 0 ? `?${query.join('&')}` : ''}`
  const carries = operation.method !== 'GET' && body !== undefined
  return { line, answer: await door.ask(asking, line, { headers, ...(carries ? { body } : {}) }) }
}

const checks = new Map<string, (value: unknown) => boolean>()

/** Fails unless the answer is one the operation declares, of its schema. */
function check(operation: Operation, line: string, status: number, type: string, body: unknown): void {
  expect([line, status < 500]).toEqual([line, true])
  const declared = operation.responses[status]
  expect([line, status, declared !== undefined]).toEqual([line, status, true])
  const media = Object.entries(content(resolve(declared as Schema))).find(([name]) => type.startsWith(name))
  if (status === 204 || !media)
    return expect([line, status, type]).toEqual([line, status, status === 204 ? type : 'a declared type'])
  if (!media[0].includes('json')) return
  const key = `${operation.method} ${operation.path} ${status}`
  // References lead into the contract, wherever the schema stands in it.
  const schema = JSON.parse(JSON.stringify(media[1].schema).replaceAll('"#/', '"contract#/')) as Schema
  const validate = checks.get(key) ?? ajv.compile(schema)
  checks.set(key, validate)
  const holds = validate(body)
  expect([line, status, holds ? null : JSON.stringify((validate as { errors?: unknown }).errors)]).toEqual([
    line,
    status,
    null,
  ])
}

it(`${REQUESTS} requests made from the contract: no 5xx, no answer off its schema (seed ${SEED})`, {
  timeout: 60_000 + REQUESTS * 500,
}, async () => {
  const seen = new Map<string, number>()
  await fc.assert(
    fc.asyncProperty(requests, async (made) => {
      const { line, answer } = await send(made)
      check(made.operation, line, answer.status, answer.headers['content-type'] ?? '', answer.body)
      const kind = `${Math.floor(answer.status / 100)}xx`
      seen.set(kind, (seen.get(kind) ?? 0) + 1)
    }),
    { numRuns: REQUESTS, seed: SEED, endOnFailure: true },
  )
  console.log(`seed ${SEED}: ${[...seen].map(([kind, count]) => `${count} ${kind}`).join(', ')}`)
  // A fuzz that is refused everywhere tries nothing.
  expect(seen.get('2xx') ?? 0).toBeGreaterThan(REQUESTS / 20)
})
