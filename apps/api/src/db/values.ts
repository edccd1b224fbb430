/** How PostgreSQL's values become JavaScript's: nothing loses precision silently. */
import pg from 'pg'

const { builtins } = pg.types
/** int8[]; the driver's list of names leaves it out. */
const INT8_ARRAY = 1016

/** Reads a bigint. Throws a RangeError beyond 2^53 - 1, where a Number would be another number. */
export function parseInt8(text: string): number {
  const value = Number(text)
  if (!Number.isSafeInteger(value)) throw new RangeError(`bigint out of the safe range: ${text}`)
  return value
}

function parseInt8Array(text: string): (number | null)[] {
  const texts = pg.types.getTypeParser(INT8_ARRAY as never, 'text')(text) as (string | null)[]
  return texts.map((item) => (item === null ? null : parseInt8(item)))
}

const own = new Map<number, (text: string) => unknown>([
  [builtins.INT8, parseInt8],
  [INT8_ARRAY, parseInt8Array],
  // A day has no time zone: the driver would make it midnight in the zone of this machine.
  [builtins.DATE, (text) => text],
])

/**
 * For `pg`'s `types` option: int8 as a checked Number, date and numeric as text, timestamptz as Date, json parsed;
 * everything else as the driver has it. Set per pool, so other users of `pg` in the process are not affected.
 */
export const parsers: pg.CustomTypesConfig = {
  getTypeParser: ((oid: number, format?: 'text' | 'binary') =>
    (format !== 'binary' && own.get(oid)) || pg.types.getTypeParser(oid, format as never)) as never,
}
