/** A view as it is kept in a row and travels as JSON: dates as ISO text, everything else as it is. */
import type { SellerView } from './view.ts'

export type ViewJson = Readonly<Record<string, unknown>>

/** The view as JSON. */
export function viewToJson(view: SellerView): ViewJson {
  return JSON.parse(JSON.stringify(view)) as ViewJson
}

type DateRange = Readonly<{ from?: string; to?: string }>

/** The view that `viewToJson` made this of. */
export function viewFromJson(json: ViewJson): SellerView {
  const { firstSeen, lastSeen, ...rest } = json as { firstSeen?: DateRange; lastSeen?: DateRange } & Omit<
    SellerView,
    'firstSeen' | 'lastSeen'
  >
  return {
    ...rest,
    ...(firstSeen ? { firstSeen: dates(firstSeen) } : {}),
    ...(lastSeen ? { lastSeen: dates(lastSeen) } : {}),
  }
}

function dates({ from, to }: DateRange): { from?: Date; to?: Date } {
  return { ...(from === undefined ? {} : { from: new Date(from) }), ...(to === undefined ? {} : { to: new Date(to) }) }
}
