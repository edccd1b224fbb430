/** Our own engine: one lane with its claiming loop and its booking loops. */
import { connect } from '../../apps/api/src/db/client.ts'
import { workRun } from '../../apps/api/src/engine/work-run.ts'
import { DEFAULT_FILTERS } from '../../apps/api/src/matching/filters.ts'
import { runSnapshot } from '../../apps/api/src/runs/snapshot.ts'
import { instantAdapter, spreadEarlier } from '../engine-world.ts'
import { PRICE } from '../support/run.ts'
import { type Side, settingOf } from './types.ts'

export const engine: Side = {
  name: 'engine',
  settings: [{ processes: 1, inFlight: 800 }],
  leftSql: null,
  enqueue: null,
  start: async ({ url, runId, accountId, workerId, setting }) => {
    const db = await connect(url, { name: 'gleaner bench', role: 'service_role', max: 6 })
    const run = await runSnapshot(db, runId)
    if (!run) throw new Error('the bench run is not there')
    const { from, pastSellers, candidates } = setting
    const hasPast = from !== undefined && pastSellers !== undefined && candidates !== undefined
    const adapter = instantAdapter(PRICE, hasPast ? spreadEarlier(from, pastSellers, candidates) : undefined)
    const search = {
      id: accountId,
      name: 'bench',
      adapter,
      maxInFlight: settingOf(setting, 'inFlight'),
    }
    const stop = new AbortController()
    const working = workRun(
      { db, workerId, run, filters: DEFAULT_FILTERS, search, list: null, log: console.error },
      stop.signal,
    )
    return async () => {
      stop.abort()
      await working
      await db.close()
    }
  },
}
