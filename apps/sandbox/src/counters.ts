/** Numbers that must survive a kill: one record of fixed length, overwritten in place by a single write. */
import { closeSync, constants, openSync, readSync, writeSync } from 'node:fs'

export type Counters = {
  /** When the eBay day ends, Unix ms: midnight in California. */
  ebayResetMs: number
  ebayUsed: number
  ebayMints: number
  /** Raised to make every token minted before invalid. */
  ebayTokenEpoch: number
  keepaTokens: number
  /** Up to when refills have been added, Unix ms; 0 = the bucket was never used. */
  keepaTickMs: number
  /** Requests of Oxylabs, for job ids. */
  oxylabsJobs: number
}

export type CounterStore = Readonly<{ values: Counters; save: () => void; close: () => void }>

const LENGTH = 512

/** `values` may be changed freely; what was last saved is what the next process starts from. */
export function openCounters(file: string): CounterStore {
  const fd = openSync(file, constants.O_RDWR | constants.O_CREAT, 0o644)
  const buffer = Buffer.alloc(LENGTH)
  const read = readSync(fd, buffer, 0, LENGTH, 0)
  const values: Counters = {
    ebayResetMs: 0,
    ebayUsed: 0,
    ebayMints: 0,
    ebayTokenEpoch: 0,
    keepaTokens: 0,
    keepaTickMs: 0,
    oxylabsJobs: 0,
    ...(read === LENGTH ? (JSON.parse(buffer.toString('utf8')) as Partial<Counters>) : {}),
  }
  const save = (): void => {
    writeSync(fd, JSON.stringify(values).padEnd(LENGTH), 0)
  }
  return { values, save, close: () => closeSync(fd) }
}
