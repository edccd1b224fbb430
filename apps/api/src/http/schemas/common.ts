/** Types every resource shares, as they go over the wire. */
import { z } from 'zod'

/** A moment: a Date inside, ISO 8601 in UTC outside. */
export const moment = z.codec(z.iso.datetime(), z.date(), {
  decode: (text) => new Date(text),
  encode: (date) => date.toISOString(),
})

/** An amount of micro-dollars. */
export const micros = z.int().min(0).meta({ description: 'Micro-dollars: 1,000,000 is one US dollar.' })
export const count = z.int().min(0)
export const id = z.uuid()

/** Low, likely and high of a figure that is not known yet. */
export const rangeOf = (what: z.ZodType) => z.object({ low: what, likely: what, high: what })

export const microsRange = rangeOf(micros).meta({
  id: 'MicrosRange',
  description: 'What something will cost, micro-dollars: at least, likely, at most. No bound: the cap is.',
})
export const countRange = rangeOf(z.number().min(0)).meta({
  id: 'CountRange',
  description: 'At least, likely, at most.',
})

/** One line of text without control characters. */
export const line = (most: number) =>
  z
    .string()
    .trim()
    .min(1)
    .max(most)
    .regex(/^[^\p{Cc}]*$/u, 'must be one line without control characters')

export const month = z
  .object({
    capMicros: micros.nullable().describe('Null without a month cap.'),
    spentMicros: micros,
    heldMicros: micros,
    suspectMicros: micros,
    deletedMicros: micros.describe('Of calls that were deleted with their run: it still counts.'),
    leftMicros: micros.nullable().describe('What the month cap leaves; null without one.'),
    heldCalls: count.describe('Calls of the month in flight, over all runs.'),
    startsAnewAt: moment,
  })
  .meta({ id: 'Month', description: 'The money of the calendar month (UTC), over all runs of the organisation.' })

/** What may be done with an object, and why not. */
export const ability = z
  .object({
    may: z.boolean(),
    code: z.string().nullable().describe('Why not, as the refusal would say it; null when it may.'),
    reason: z.string().nullable().describe('The same as a sentence.'),
  })
  .meta({ id: 'Ability', description: 'Whether the one who asks may do it now.' })
