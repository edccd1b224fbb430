/** Health of the installation, its workers. /metrics is in metrics.ts, /docs in docs.ts. */
import { z } from 'zod'
import { AppError } from '../../base/errors.ts'
import { assertCurrent } from '../../db/migrate.ts'
import { DEAD_AFTER_MS } from '../../ledger/rescue.ts'
import { listWorkers } from '../../queue/workers.ts'
import { type Route, route } from '../route.ts'
import { count, id, moment } from '../schemas/common.ts'

const healthy = z
  .object({ status: z.literal('ok'), version: z.string() })
  .meta({ id: 'Health', description: 'The process is up.' })

const worker = z
  .object({
    id,
    name: z.string(),
    version: z.string(),
    state: z.enum(['alive', 'silent', 'stopped']).describe('silent: no heartbeat, and it did not say that it leaves.'),
    startedAt: moment,
    heartbeatAt: moment,
    stoppedAt: moment.nullable(),
    silentMs: z.number().describe('Since its last heartbeat, by the database’s clock.'),
    upMs: z.number(),
    runs: z.array(z.object({ id, number: count, name: z.string() })).describe('Runs of this organisation it works on.'),
    callsInFlight: count.describe('Of this organisation.'),
  })
  .meta({ id: 'Worker', description: 'A process that takes part in runs.' })

export const operationRoutes: readonly Route[] = [
  route({
    method: 'GET',
    path: '/healthz',
    operationId: 'getHealth',
    tag: 'Operation',
    summary: 'Is the process up?',
    description: 'Answers as long as the process does; looks at nothing else. For a supervisor that restarts it.',
    access: 'public',
    transaction: 'none',
    answers: {
      200: { description: 'It is.', schema: healthy, example: { status: 'ok', version: '0.1.0' } },
    },
  })(async ({ deps }) => ({ status: 200, body: { status: 'ok' as const, version: deps.version } })),
  route({
    method: 'GET',
    path: '/readyz',
    operationId: 'getReadiness',
    tag: 'Operation',
    summary: 'Can it answer requests?',
    description:
      'Asks the database, and whether its schema is the one of this version. For a balancer that sends requests.',
    access: 'public',
    transaction: 'none',
    refuses: ['server.busy', 'db.schema_behind', 'db.schema_ahead'],
    answers: {
      200: { description: 'It can.', schema: healthy, example: { status: 'ok', version: '0.1.0' } },
    },
  })(async ({ deps }) => {
    try {
      await assertCurrent(deps.db)
    } catch (error) {
      if (error instanceof AppError) throw error
      throw new AppError('server.busy', 'The database does not answer.', { cause: error })
    }
    return { status: 200, body: { status: 'ok' as const, version: deps.version } }
  }),
  route({
    method: 'GET',
    path: '/api/v1/orgs/{orgId}/workers',
    operationId: 'listWorkers',
    tag: 'Operation',
    summary: 'List the workers',
    description:
      'Workers that are alive, and those that fell silent or left within the last hour. The fleet serves every organisation; runs and calls shown are those of this one.',
    access: 'viewer',
    transaction: 'read',
    answers: {
      200: {
        description: 'The workers, by name.',
        schema: z.object({ items: z.array(worker) }),
        example: { items: [] },
      },
    },
  })(async ({ tx }) => ({
    status: 200,
    body: { items: (await listWorkers(tx, DEAD_AFTER_MS)).map((one) => ({ ...one, runs: [...one.runs] })) },
  })),
]
