/** Counters that contradict each other are refused by the row itself, should a trigger ever count wrongly. */
import { expect, it } from 'vitest'
import { withTx } from '../../src/db/client.ts'
import { useArena } from '../engine/use-arena.ts'

const arena = useArena()

it.each(['total_items', 'pending_items', 'processing_items', 'processed_items', 'failed_items', 'found_items'])(
  'no %s that would contradict the others, whoever writes it',
  async (column) => {
    const run = await arena.makeRun({ products: 2 })
    const write = withTx(arena.fresh.db, async (tx) => {
      // No trigger runs: what is left is the CHECK.
      await tx.query('set local session_replication_role = replica')
      await tx.query(`update collection_runs set ${column} = ${column} + 1 where id = $1`, [run.id])
    })
    await expect(write).rejects.toMatchObject({ constraint: 'collection_runs_counts_add_up' })
  },
)
