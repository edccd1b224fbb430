/** Events as they happen: http/live serves them, this says so. */
import type { Readable } from 'node:stream'
import { z } from 'zod'
import { type Asked, openStream } from '../live/open.ts'
import { principalOf } from '../principal.ts'
import { type Route, route } from '../route.ts'
import { count, id, micros, moment } from '../schemas/common.ts'
import { run } from '../schemas/run.ts'
import { event } from './run-parts.ts'
import { runParams } from './runs.ts'

const fact = z.object({ id: z.string(), data: event.extend({ runId: id }) }).meta({
  id: 'FactFrame',
  description: 'An event of a run; to a browser a `message`. Every fact comes once, in order.',
})
const named = <N extends string, D extends z.ZodType>(name: N, data: D, description: string) =>
  z
    .object({ event: z.literal(name), data })
    .meta({ id: `${name.charAt(0).toUpperCase()}${name.slice(1)}Frame`, description })

const frame = z
  .union([
    fact,
    named(
      'open',
      z.object({ at: moment, after: z.string() }),
      'The first frame: the id it goes on after. Has that id.',
    ),
    named(
      'figures',
      z.object({ at: moment, eventSeq: count, run, monthLeftMicros: micros.nullable() }),
      'How a run stands, at most four times a second, never before the event it belongs to.',
    ),
    named('beat', z.object({ at: moment }), 'A sign of life after 4 s without another.'),
    named(
      'end',
      z.object({ runId: id, reason: z.enum(['ended', 'deleted']), eventSeq: count.optional() }),
      'Nothing can follow; the stream is closed.',
    ),
    named(
      'reset',
      z.object({ after: z.string() }),
      'The database was set back to before what the client knows: load anew.',
    ),
    named('later', z.object({ reason: z.enum(['stopping', 'busy']) }), 'The last frame: come again after `retry`.'),
    named('cut', z.object({ code: z.string() }), 'The last frame: the client may not watch any more, and why.'),
  ])
  .meta({ id: 'Frame', description: 'One frame of an event stream, its data read as JSON. docs/live.md says more.' })

const STREAM = 'text/event-stream; charset=utf-8'
const HEADERS = {
  'cache-control': 'no-store, no-transform',
  // A proxy that gathers what it passes on would make live late (nginx).
  'x-accel-buffering': 'no',
}
const example = (of: string, seq: number) => ({
  id: of,
  data: {
    runId: '0198c2f4-7d1a-7000-8000-000000000001',
    seq,
    at: '2026-11-22T14:02:11.000Z',
    type: 'calls.booked',
    actorId: null,
    data: { calls: 12, outcomes: { found: 11, none: 1 }, spentMicros: 4_180_000 },
  },
})

const afterQuery = (form: RegExp, description: string) =>
  z.strictObject({ after: z.string().regex(form).optional().meta({ description }) })

/** What a handler answers with for what came of `openStream`. */
function answerOf(stream: Readable | null) {
  return stream ? ({ status: 200, stream, headers: HEADERS } as const) : ({ status: 204 } as const)
}

/** Where to go on: a browser that comes again sends the header, and the address it had at first. */
function afterOf(header: string | readonly string[] | undefined, parameter: string | undefined): Pick<Asked, 'after'> {
  return { after: typeof header === 'string' && header !== '' ? header : parameter }
}

const NOTHING_MORE = 'The run has ended and its last event is known: `EventSource` stops.'

export const liveRoutes: readonly Route[] = [
  route({
    method: 'GET',
    path: '/api/v1/orgs/{orgId}/runs/{runId}/stream',
    operationId: 'streamRun',
    tag: 'Live',
    summary: 'Follow a run',
    description:
      'Its events from the first on, or after the one named, then those to come, each once; and its figures. Ids are event numbers. Ends when the run has ended and its last event was told.',
    access: 'viewer',
    transaction: 'none',
    params: runParams,
    query: afterQuery(/^\d{1,15}$/, 'Only events after this number: `eventSeq` of the run as it was read.'),
    refuses: ['run.not_found', 'request.too_many'],
    answers: {
      200: { description: 'Frames, one after the other.', stream: STREAM, frame, example: example('418', 418) },
      204: { description: NOTHING_MORE },
    },
  })(async ({ deps, request, orgId, principal, params: { runId }, query, asMember, checkIdentity, signal }) =>
    answerOf(
      await openStream(deps.live, {
        orgId,
        runId,
        ...afterOf(request.headers['last-event-id'], query.after),
        principal: principalOf(principal),
        read: asMember,
        checkIdentity,
        gone: signal,
      }),
    ),
  ),
  route({
    method: 'GET',
    path: '/api/v1/orgs/{orgId}/stream',
    operationId: 'streamOrg',
    tag: 'Live',
    summary: 'Follow all runs of the organisation',
    description:
      'The events of all its runs from now on, or after the position named, each once, also of runs created later; and the figures of those that are running. Ids are positions. One such stream is enough for a browser.',
    access: 'viewer',
    transaction: 'none',
    query: afterQuery(
      /^o\d{1,15}$/,
      'Only events after this position: an id of this stream. `o0` begins with the first.',
    ),
    refuses: ['request.too_many'],
    answers: {
      200: { description: 'Frames, one after the other.', stream: STREAM, frame, example: example('o52032', 418) },
    },
  })(async ({ deps, request, orgId, principal, query, asMember, checkIdentity, signal }) => {
    const stream = await openStream(deps.live, {
      orgId,
      ...afterOf(request.headers['last-event-id'], query.after),
      principal: principalOf(principal),
      read: asMember,
      checkIdentity,
      gone: signal,
    })
    if (!stream) throw new Error('the stream of an organisation does not end')
    return { status: 200, stream, headers: HEADERS }
  }),
]
