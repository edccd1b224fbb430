/** pg-boss: a job for each product, fetched and completed in batches, the jobs of a batch side by side. */
import { PgBoss } from 'pg-boss'
import { openDesk } from './one-product.ts'
import { type Setting, type Side, settingOf } from './types.ts'

const QUEUE = 'products'

/**
 * What https://pgboss.io/api/workers offers for throughput: larger batches, fetched without pause while they come back
 * full (`burstWhenBatchFull`), several local workers. `connections` is how many jobs of all batches work at once.
 */
const SETTINGS: readonly Setting[] = [
  { processes: 1, localConcurrency: 2, batchSize: 50, connections: 8 },
  { processes: 1, localConcurrency: 2, batchSize: 200, connections: 8 },
  { processes: 1, localConcurrency: 2, batchSize: 50, connections: 4 },
  { processes: 1, localConcurrency: 2, batchSize: 50, connections: 2 },
  { processes: 1, localConcurrency: 8, batchSize: 10, connections: 8 },
  { processes: 1, localConcurrency: 2, batchSize: 50, connections: 24 },
  { processes: 2, localConcurrency: 2, batchSize: 50, connections: 4 },
]

export const pgBoss: Side = {
  name: 'pg-boss',
  settings: SETTINGS,
  leftSql: `select count(*)::int as left from pgboss.job where name = '${QUEUE}' and state < 'completed'`,
  enqueue: async ({ url }, itemIds) => {
    const boss = await openBoss(url, 4)
    await boss.createQueue(QUEUE)
    for (let from = 0; from < itemIds.length; from += 1000) {
      await boss.insert(
        QUEUE,
        itemIds.slice(from, from + 1000).map((itemId) => ({ data: { itemId } })),
      )
    }
    await boss.stop()
  },
  start: async (job) => {
    const localConcurrency = settingOf(job.setting, 'localConcurrency')
    const batchSize = settingOf(job.setting, 'batchSize')
    const desk = await openDesk(job, settingOf(job.setting, 'connections'))
    const boss = await openBoss(job.url, localConcurrency + 2)
    const options = { localConcurrency, batchSize, burstWhenBatchFull: true, pollingIntervalSeconds: 0.5 }
    await boss.work<{ itemId: string }>(QUEUE, options, async (jobs) => {
      await Promise.all(jobs.map(({ data }) => desk.work(data.itemId)))
    })
    return async () => {
      await boss.stop()
      await desk.close()
    }
  },
}

async function openBoss(url: string, max: number): Promise<PgBoss> {
  const boss = new PgBoss({ connectionString: url, max })
  boss.on('error', (error) => console.error('pg-boss:', error))
  await boss.start()
  return boss
}
