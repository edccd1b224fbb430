/**
 * What the providers would have billed: an append-only file, one JSON line a charge. A line is written with one write
 * call before the answer is sent, so it outlives a kill of this process (the page cache is the kernel's) and of any client.
 */
import { closeSync, ftruncateSync, openSync, readFileSync, writeSync } from 'node:fs'

export type BillingKind = 'ebay.search' | 'oxylabs.amazon_bestsellers' | 'oxylabs.ebay' | 'keepa.token'

export type BillingEntry = Readonly<{
  /** From 1, no gaps. */
  seq: number
  /** ISO 8601. */
  at: string
  provider: string
  kind: BillingKind
  units: number
  micros: number
  /** The client's `x-request-id`, or null when it sent none. */
  requestId: string | null
  account: string
  what: string
}>

export type BillingSummary = {
  count: number
  micros: number
  byKind: Record<string, { count: number; units: number; micros: number }>
}

export type Billing = Readonly<{
  append: (entry: Omit<BillingEntry, 'seq' | 'at'>) => BillingEntry
  after: (seq: number, limit: number) => readonly BillingEntry[]
  lookup: (requestIds: readonly string[]) => readonly BillingEntry[]
  summary: () => BillingSummary
  close: () => void
}>

/** Opens or creates the record. A last line cut off by a crash was never answered for and is removed. */
export function openBilling(file: string): Billing {
  const fd = openSync(file, 'a+', 0o644)
  const entries: BillingEntry[] = []
  const byRequest = new Map<string, BillingEntry[]>()
  const totals: BillingSummary = { count: 0, micros: 0, byKind: {} }
  let length = 0

  const remember = (entry: BillingEntry): void => {
    entries.push(entry)
    totals.count += 1
    totals.micros += entry.micros
    const kind = totals.byKind[entry.kind] ?? { count: 0, units: 0, micros: 0 }
    totals.byKind[entry.kind] = {
      count: kind.count + 1,
      units: kind.units + entry.units,
      micros: kind.micros + entry.micros,
    }
    if (entry.requestId === null) return
    const same = byRequest.get(entry.requestId)
    if (same) same.push(entry)
    else byRequest.set(entry.requestId, [entry])
  }

  const stored = readFileSync(file)
  length = stored.lastIndexOf(0x0a) + 1
  if (length < stored.length) ftruncateSync(fd, length)
  for (const line of stored.toString('utf8', 0, length).split('\n')) {
    if (line !== '') remember(JSON.parse(line) as BillingEntry)
  }

  const append = (charge: Omit<BillingEntry, 'seq' | 'at'>): BillingEntry => {
    const entry: BillingEntry = { seq: entries.length + 1, at: new Date().toISOString(), ...charge }
    const line = Buffer.from(`${JSON.stringify(entry)}\n`)
    try {
      if (writeSync(fd, line) !== line.length) throw new Error('the billing record was written in part')
    } catch (cause) {
      ftruncateSync(fd, length)
      throw new Error('cannot write the billing record', { cause })
    }
    length += line.length
    remember(entry)
    return entry
  }

  return {
    append,
    after: (seq, limit) => entries.slice(seq, seq + limit),
    lookup: (requestIds) => requestIds.flatMap((id) => byRequest.get(id) ?? []),
    summary: () => totals,
    close: () => closeSync(fd),
  }
}
