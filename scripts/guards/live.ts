/** Guards of the event streams: nothing missed, nothing twice, nobody who may not, and no harm from a slow reader. */
import type { Guard, Removal } from './list.ts'

const STREAM = 'apps/api/test/http/live/stream.test.ts'
const MANY = 'apps/api/test/http/live/many.test.ts'
const POSITIONS = 'apps/api/test/db/positions.test.ts'

const live = (file: string, find: string, put: string): Removal => ({
  file: `apps/api/src/http/${file}`,
  find,
  put,
})

export const LIVE: readonly Guard[] = [
  {
    id: 'position-at-commit',
    against: 'an order of locks that the counter of positions would close to a circle',
    without: {
      sql: `DROP TRIGGER collection_events_positioned ON collection_events;
        CREATE TRIGGER collection_events_positioned AFTER INSERT ON collection_events
        FOR EACH ROW EXECUTE FUNCTION gleaner_event_positioned()`,
    },
    falls: [POSITIONS, 'are locked last'],
  },
  {
    id: 'positions-verified',
    against: 'a position that is missing or out of order and that nobody finds',
    without: {
      file: 'apps/api/src/engine/verify/states.ts',
      find: '[NO_GAP, IN_TIME, POSITIONS, IN_POSITION]',
      put: '[NO_GAP, IN_TIME]',
    },
    falls: [POSITIONS, 'are checked by verify'],
  },
  {
    id: 'ring-knows-its-beginning',
    against: 'events left out for who goes on before what a server remembers',
    without: live('live/ring.ts', '      if (wanted < from) return null\n', ''),
    falls: [MANY, 'go on at another one'],
  },
  {
    id: 'reader-sets-the-pace',
    against: 'a reader who does not read filling the memory of the server',
    without: live('live/sink.ts', 'if (stream.write(text)) return true', 'if (stream.write(text) || true) return true'),
    falls: [MANY, 'costs the others nothing'],
  },
  {
    id: 'tail-rests',
    against: 'a database that is asked while nobody watches',
    without: live('live/tail.ts', 'while (channels.size > 0 && !stop.signal.aborted)', 'while (!stop.signal.aborted)'),
    falls: [MANY, 'asked as often as for one'],
  },
  {
    id: 'streams-end-with-the-server',
    against: 'a server that cannot stop while somebody watches',
    without: live('app.ts', '    await deps.live.close()\n', ''),
    falls: [MANY, 'with a time to come again'],
  },
  {
    id: 'stream-waits-for-calls',
    against: 'a stream that ends before the last call of a cancelled run is booked',
    without: {
      file: 'apps/api/src/engine/figures-now.ts',
      find: 'TERMINAL.has(run.status) && run.heldCalls === 0',
      put: 'TERMINAL.has(run.status)',
    },
    falls: [STREAM, 'while calls of an ended run'],
  },
  {
    id: 'stream-of-ended-run',
    against: 'browsers that come again for ever after a run has ended',
    without: live('live/open.ts', '  if (isOver(run) && wanted === run.eventSeq) return null\n', ''),
    falls: [STREAM, 'ends when the run has ended'],
  },
  {
    id: 'figures-four-a-second',
    against: 'figures with every look',
    without: live('live/tail.ts', 'const FIGURES_MS = 250', 'const FIGURES_MS = 0'),
    falls: [STREAM, 'at most four times a second'],
  },
  {
    id: 'reset-is-told',
    against: 'silence for who knows of more than a restored database',
    without: live('live/open.ts', 'const isReset = wanted > run.eventSeq', 'const isReset = false'),
    falls: [STREAM, 'begins anew'],
  },
  {
    id: 'access-asked-again',
    against: 'a removed member who goes on watching',
    without: live(
      'live/live.ts',
      'const asking = keepAsking(check, cut, over.signal)',
      'const asking = cut && check && Promise.resolve()',
    ),
    falls: [STREAM, 'cut within 10 s'],
  },
  {
    id: 'identity-asked-again',
    against: 'a session or key that was ended and goes on watching',
    without: live('live/open.ts', '    await asked.checkIdentity()\n', ''),
    falls: [STREAM, 'cut within 10 s'],
  },
  {
    id: 'streams-each',
    against: 'one person taking all streams',
    without: live('live/live.ts', 'const PER_PRINCIPAL_MOST = 20', 'const PER_PRINCIPAL_MOST = 2_000'),
    falls: [STREAM, '20 streams each'],
  },
]
