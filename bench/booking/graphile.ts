/** graphile-worker: a job for each product, fetched through the local queue, completions in batches. */
import { Logger, makeWorkerUtils, run, type SharedOptions } from 'graphile-worker'
import { openDesk } from './one-product.ts'
import { type Setting, type Side, settingOf } from './types.ts'

/** Only what goes wrong. */
const logger = new Logger(() => (level, message) => {
  if (level === 'error' || level === 'warning') console.error(`graphile-worker: ${message}`)
})

/**
 * What https://worker.graphile.org/docs/performance names: many concurrent jobs, a local queue of hundreds, completions
 * batched at delay 0. Without the local queue for comparison.
 */
const SETTINGS: readonly Setting[] = [
  { processes: 1, concurrentJobs: 24, localQueue: 500, completeDelayMs: 0 },
  { processes: 1, concurrentJobs: 8, localQueue: 500, completeDelayMs: 0 },
  { processes: 1, concurrentJobs: 4, localQueue: 500, completeDelayMs: 0 },
  { processes: 1, concurrentJobs: 2, localQueue: 500, completeDelayMs: 0 },
  { processes: 1, concurrentJobs: 8, localQueue: 500, completeDelayMs: 250 },
  { processes: 1, concurrentJobs: 8, localQueue: -1, completeDelayMs: -1 },
  { processes: 2, concurrentJobs: 4, localQueue: 250, completeDelayMs: 0 },
]

export const graphile: Side = {
  name: 'graphile-worker',
  settings: SETTINGS,
  leftSql: 'select count(*)::int as left from graphile_worker._private_jobs',
  enqueue: async ({ url }, itemIds) => {
    const utils = await makeWorkerUtils({ connectionString: url, logger })
    await utils.migrate()
    for (let from = 0; from < itemIds.length; from += 1000) {
      await utils.addJobs(
        itemIds.slice(from, from + 1000).map((itemId) => ({ identifier: 'product', payload: { itemId } })),
      )
    }
    await utils.release()
  },
  start: async (job) => {
    const concurrentJobs = settingOf(job.setting, 'concurrentJobs')
    const desk = await openDesk(job, concurrentJobs)
    const runner = await run({
      connectionString: job.url,
      maxPoolSize: concurrentJobs + 1,
      logger,
      noHandleSignals: true,
      preset: {
        worker: {
          concurrentJobs,
          localQueue: { size: settingOf(job.setting, 'localQueue') },
          completeJobBatchDelay: settingOf(job.setting, 'completeDelayMs'),
        },
      } satisfies NonNullable<SharedOptions['preset']>,
      taskList: { product: (payload) => desk.work((payload as { itemId: string }).itemId) },
    })
    return async () => {
      await runner.stop()
      await desk.close()
    }
  },
}
