/** Guards of accounts: whose credentials nobody has, and whose quota others use too. */
import type { Guard, Removal } from './list.ts'

const source = (file: string, find: string, put: string): Removal => ({ file: `apps/api/src/${file}`, find, put })
const UNSERVED = 'apps/api/test/engine/unserved.test.ts'
const READ_DAYS = 'apps/api/test/engine/read-days.test.ts'

export const ACCOUNTS: readonly Guard[] = [
  {
    id: 'lane-only-where-usable',
    against: 'a place kept for a run whose accounts the worker cannot use',
    without: source('queue/lanes.ts', 'where servable and id <> all', 'where id <> all'),
    falls: ['apps/api/test/queue/lanes.test.ts', 'gets no lane on it'],
  },
  {
    id: 'unserved-after-a-while',
    against: 'pausing runs whose worker is being restarted, or is about to start',
    without: source('engine/unserved.ts', "w where w.started_at <= now() - ${silentMs} * interval '1 ms')", 'w)'),
    falls: [UNSERVED, 'is not paused'],
  },
  {
    id: 'unserved-goes-on',
    against: 'waiting for a person although a worker has the credentials',
    without: source('engine/start.ts', '    or r.pause_unserved and ${servedBy(aliveWorkers(silentMs))})', '    )'),
    falls: [UNSERVED, 'pauses, says which credentials are missing'],
  },
  {
    id: 'day-upward-only',
    against: 'forgetting calls that were claimed and have not reached the provider',
    without: source('governor/day.ts', 'greatest(g.day_calls, $2)', '$2'),
    falls: [READ_DAYS, 'is corrected upward only'],
  },
  {
    id: 'day-begins-anew',
    against: "carrying a day's calls into the next, when the provider's midnight comes first",
    without: source('governor/day.ts', ' and $3 < g.day_ends_at + ${NEXT_DAY}', ''),
    falls: [READ_DAYS, 'of the next day begins the count anew'],
  },
  {
    id: 'day-read-rarely',
    against: 'a fleet that asks for the count again and again',
    without: source('governor/day.ts', "interval '5 minutes'", "interval '5 seconds'"),
    falls: [READ_DAYS, 'is asked for at most once in five minutes'],
  },
]
