/**
 * Answers that come after a person has resolved their call: a frozen worker wakes up, its call was settled as not charged,
 * and the answer proves a charge. The provider's word goes before the person's (docs/adr/0011).
 */
import { addMicros, type Micros, ZERO } from '../base/money.ts'
import type { Tx } from '../db/client.ts'
import type { NewEvent } from '../events/append.ts'
import { overruleCalls } from '../ledger/resolve.ts'
import type { Charge } from '../providers/types.ts'

/**
 * Books what such answers prove beyond what was settled, and returns the event that tells of it; none when nothing was
 * resolved, or nothing is dearer than was said. Results of such answers are not stored: the call was over.
 */
export async function overruleResolved(
  tx: Tx,
  finished: readonly Readonly<{ callId: string; answer: Readonly<{ charge: Charge }> }>[],
): Promise<NewEvent[]> {
  const proved = finished.flatMap(({ callId, answer: { charge } }) =>
    charge.kind === 'charged' ? [{ callId, chargeMicros: charge.micros }] : [],
  )
  if (proved.length === 0) return []
  const overruled = await overruleCalls(tx, proved)
  if (overruled.length === 0) return []
  const micros = overruled.reduce<Micros>((sum, { moreMicros }) => addMicros(sum, moreMicros), ZERO)
  return [{ type: 'calls.contradicted', data: { calls: overruled.length, micros, ids: overruled.map(({ id }) => id) } }]
}
