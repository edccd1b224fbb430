/** The master list on its way out: any number of rows, a few thousand in memory at a time. */
import { type Db, withTx } from '../db/client.ts'
import { type SellerFilter, type SellerRow, sellerQuery } from './list-sellers.ts'

const ROWS_AT_ONCE = 2_000

/**
 * Hands the sellers of `filter` to `take` in order, some thousands at a time, all of one moment. Returns how many there
 * were. The transaction stays open as long as `take` takes: it writes to a file, never to a network.
 */
export function exportSellers(
  db: Db,
  filter: SellerFilter,
  take: (rows: readonly SellerRow[]) => Promise<void>,
): Promise<number> {
  return withTx(
    db,
    async (tx) => {
      await tx.query('set transaction read only')
      // The reader sets the pace.
      await tx.query('set local statement_timeout = 0')
      await tx.query('set local idle_in_transaction_session_timeout = 0')
      const { text, values } = sellerQuery(filter)
      await tx.query(`declare export_sellers no scroll cursor for ${text}`, values)
      for (let total = 0; ; ) {
        const { rows } = await tx.query<SellerRow>(`fetch ${ROWS_AT_ONCE} from export_sellers`)
        if (rows.length === 0) return total
        await take(rows)
        total += rows.length
      }
    },
    { isolation: 'repeatable read' },
  )
}
