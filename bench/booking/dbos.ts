/** DBOS: a workflow for each product on a queue of the same database. */
import { DBOS, type DBOSConfig } from '@dbos-inc/dbos-sdk'
import { type Desk, openDesk } from './one-product.ts'
import { type Job, type Setting, type Side, settingOf } from './types.ts'

const QUEUE = 'products'
const ENQUEUED_AT_ONCE = 8

/**
 * One step a workflow, the fewest that are checkpointed: hold, search and booking together, which the database fences by
 * itself. A queue hands out workflows only when it is polled, up to `workerConcurrency` of them, so both count.
 */
const SETTINGS: readonly Setting[] = [
  { processes: 1, workerConcurrency: 50, pollingMs: 100, connections: 10 },
  { processes: 1, workerConcurrency: 100, pollingMs: 50, connections: 10 },
  { processes: 1, workerConcurrency: 100, pollingMs: 20, connections: 8 },
  { processes: 1, workerConcurrency: 300, pollingMs: 100, connections: 10 },
  { processes: 1, workerConcurrency: 100, pollingMs: 50, connections: 4 },
  { processes: 1, workerConcurrency: 30, pollingMs: 20, connections: 8 },
  { processes: 2, workerConcurrency: 50, pollingMs: 50, connections: 5 },
]

/** Said of the workflow's process, once: DBOS is one per process. */
let desk: Desk | undefined

const product = DBOS.registerWorkflow(
  async (itemId: string): Promise<void> => {
    await DBOS.runStep(async () => await desk?.work(itemId), { name: 'product' })
  },
  { name: 'product' },
)

export const dbos: Side = {
  name: 'DBOS',
  settings: SETTINGS,
  leftSql: `select count(*)::int as left from dbos.workflow_status where queue_name = '${QUEUE}' and status <> 'SUCCESS'`,
  enqueue: async (job, itemIds) => {
    // Nothing is handed out in this process: it listens to a queue that is not there.
    DBOS.setConfig({ ...configOf(job), listenQueues: ['none'] })
    await DBOS.launch()
    await DBOS.registerQueue(QUEUE, limitsOf(job.setting))
    for (let from = 0; from < itemIds.length; from += ENQUEUED_AT_ONCE) {
      const some = itemIds.slice(from, from + ENQUEUED_AT_ONCE)
      await Promise.all(some.map((itemId) => DBOS.startWorkflow(product, { queueName: QUEUE })(itemId)))
    }
    await DBOS.shutdown()
  },
  start: async (job) => {
    desk = await openDesk(job, settingOf(job.setting, 'connections'))
    DBOS.setConfig({ ...configOf(job), listenQueues: [QUEUE] })
    await DBOS.launch()
    return async () => {
      await DBOS.shutdown()
      await desk?.close()
    }
  },
}

function configOf({ url, setting }: Job): DBOSConfig {
  return {
    name: 'bench',
    systemDatabaseUrl: url,
    systemDatabasePoolSize: 2 * settingOf(setting, 'connections'),
    applicationVersion: 'bench',
    executorID: `bench-${process.pid}`,
    logLevel: 'error',
  }
}

function limitsOf(setting: Setting) {
  const workerConcurrency = settingOf(setting, 'workerConcurrency')
  return { workerConcurrency, minPollingIntervalMs: settingOf(setting, 'pollingMs') }
}
