/** Guards of what may still be sent, and of what a worker makes of the time it stood still. */
import type { Guard } from './list.ts'

const MAY_SEND = 'apps/api/src/engine/may-send.ts'
const CLAIM = 'apps/api/src/engine/claim.ts'
const HTTP = 'apps/api/src/providers/http.ts'
const ZOMBIES = 'apps/api/test/engine/zombie-send.test.ts'
const CONFORMANCE = 'apps/api/test/providers/conformance.test.ts'
const STANDSTILL = 'apps/api/test/providers/standstill.test.ts'
const MAY_SEND_TEST = 'apps/api/test/engine/may-send.test.ts'

export const SENDING: readonly Guard[] = [
  {
    id: 'lease-before-send',
    against: 'sending a call whose lease may be over, which a person may have settled as not charged',
    without: {
      file: MAY_SEND,
      find: 'passedMs(askedAt, now) < LEAVES_WITHIN_MS && ',
      put: 'passedMs(askedAt, now) >= 0 && ',
    },
    falls: [ZOMBIES, 'when their leases are nearly over'],
  },
  {
    id: 'heart-before-send',
    against: 'sending a call that others have taken over, and paying twice',
    without: { file: MAY_SEND, find: '(heart?.heldSince(askedAt) ?? true)', put: '(heart === undefined || true)' },
    falls: [ZOMBIES, 'when it was silent for so long'],
  },
  {
    id: 'silence-breaks-the-heart',
    against: 'a worker that forgets, with its first new heartbeat, that it was taken for dead',
    without: {
      file: MAY_SEND,
      find: 'if (!lastAt || passedMs(lastAt) >= deadAfterMs) unbroken',
      put: 'if (!lastAt) unbroken',
    },
    falls: [MAY_SEND_TEST, 'holds nothing of before, once it beats again'],
  },
  {
    id: 'lease-from-before-the-claim',
    against: 'a lease that the worker takes for longer than the database does',
    without: {
      file: CLAIM,
      find: 'const maySend = maySendUntil(askedAt, ',
      put: 'const maySend = maySendUntil(momentNow(), ',
    },
    falls: [MAY_SEND_TEST, 'whose claim was under way while the machine slept'],
  },
  {
    id: 'sleep-counts',
    against: 'sending after the machine slept, which the steady clock does not count',
    without: {
      file: 'apps/api/src/base/moment.ts',
      find: 'now.steadyMs - then.steadyMs, now.wallMs - then.wallMs)',
      put: 'now.steadyMs - then.steadyMs)',
    },
    falls: [MAY_SEND_TEST, 'may not leave after its machine slept'],
  },
  {
    id: 'steady-clock-counts',
    against: 'sending after the wall clock was set back',
    without: {
      file: 'apps/api/src/base/moment.ts',
      find: 'now.steadyMs - then.steadyMs, now.wallMs - then.wallMs)',
      put: 'now.wallMs - then.wallMs)',
    },
    falls: ['apps/api/test/base/moment.test.ts', 'says more time has passed'],
  },
  {
    id: 'asked-at-the-socket',
    against: 'sending a call whose time ran out while its connection was made',
    without: { file: HTTP, find: 'if (!settled && !controller && !maySend(request)) settle(tooLate())', put: '' },
    falls: ['apps/api/test/providers/http.test.ts', 'when its connection is there'],
  },
  {
    id: 'asked-after-the-token',
    against: 'sending a call whose time ran out while eBay was asked for a token',
    without: { file: 'apps/api/src/providers/ebay-browse.ts', find: '      maySend: context.maySend,\n', put: '' },
    falls: [ZOMBIES, 'when it was frozen asking for its token'],
  },
  ...(['oxylabs-query', 'keepa'] as const).map(
    (adapter): Guard => ({
      id: `asked-by-${adapter}`,
      against: 'an adapter that sends without asking whether it still may',
      without: { file: `apps/api/src/providers/${adapter}.ts`, find: '    maySend: context.maySend,\n', put: '' },
      falls: [CONFORMANCE, 'not allowed to leave any more'],
    }),
  ),
  {
    id: 'unsent-is-released',
    against: 'calls that were surely not sent staying suspect',
    without: { file: MAY_SEND, find: '    NOT_CHARGED,\n', put: "    { kind: 'unknown' },\n" },
    falls: [MAY_SEND_TEST, 'is surely not charged'],
  },
  {
    id: 'read-before-timeout',
    against: 'giving up answers that came while this process was frozen',
    without: { file: HTTP, find: 'if (extended || !watch.stoodStill()) return', put: 'if (extended || watch) return' },
    falls: [STANDSTILL, 'reads the answer that came meanwhile'],
  },
  {
    id: 'own-standstill',
    against: 'taking what a frozen worker missed for the fault of the provider',
    without: {
      file: HTTP,
      find: 'if (OWN_DOING.has(failed.code) || !watch.stoodStill()) return failed',
      put: 'if (watch) return failed',
    },
    falls: [STANDSTILL, 'by its own doing'],
  },
  {
    id: 'own-doing-is-not-told',
    against: 'stopping an account for what its workers did themselves',
    without: {
      file: 'apps/api/src/engine/observe.ts',
      find: 'if (!answer.ok && OWN_DOING.has(answer.code)) return',
      put: '',
    },
    falls: [MAY_SEND_TEST, 'is not told to the governor'],
  },
]
