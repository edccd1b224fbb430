/** Guards of retries, resolutions and the audit log. */
import type { Guard } from './list.ts'

const RETRY = 'apps/api/test/engine/retry.test.ts'
const RESOLVE = 'apps/api/test/engine/resolve.test.ts'
const RECONCILE = 'apps/api/test/engine/reconcile.test.ts'
const RESOLUTIONS = 'apps/api/test/ledger/resolutions.test.ts'
const RECONCILER = 'apps/api/src/engine/reconcile.ts'

export const PEOPLE: readonly Guard[] = [
  {
    id: 'one-open-retry',
    against: 'a product in two open retries at once',
    without: { sql: 'DROP INDEX collection_runs_one_open_retry' },
    falls: [RETRY, 'refuses a second open retry of a family'],
  },
  {
    id: 'retry-of-ended',
    against: 'a retry of a run that goes on, or of another organisation',
    without: { sql: 'DROP TRIGGER collection_runs_retry ON collection_runs' },
    falls: [RETRY, 'refuses a retry of a run that has not ended'],
  },
  {
    id: 'retry-links-kept',
    against: 'a run that leaves its family of retries',
    without: { sql: 'DROP TRIGGER collection_runs_links_kept ON collection_runs' },
    falls: [RETRY, 'keeps the links'],
  },
  {
    id: 'retry-pays-once',
    against: 'a search again for what another retry has answered',
    without: { file: 'apps/api/src/runs/retries.ts', find: ' and not reached.answered', put: '' },
    falls: [RETRY, 'leaves out what the family has answered'],
  },
  {
    id: 'resolves-suspect-only',
    against: 'a resolution of a call whose fate is known',
    without: {
      inFunction: 'gleaner_calls_resolved',
      find: 'IF moved <> (SELECT count(*) FROM inserted)',
      put: 'IF false',
    },
    falls: [RESOLUTIONS, 'of a call that is not suspect'],
  },
  {
    id: 'audit-append-only',
    against: 'an audit row that somebody with the privileges of a worker changes or removes',
    without: { sql: 'GRANT ALL ON audit_log TO service_role' },
    falls: [RESOLUTIONS, 'cannot change or remove a row of'],
  },
  {
    id: 'resolutions-append-only',
    against: 'a resolution changed or removed later',
    without: { sql: 'GRANT ALL ON collection_call_resolutions TO service_role' },
    falls: [RESOLUTIONS, 'cannot change or remove a row of'],
  },
  {
    id: 'audit-final',
    against: 'the owner of the tables changing the audit log by a slip',
    without: { sql: 'DROP TRIGGER audit_log_final ON audit_log' },
    falls: [RESOLUTIONS, 'does not change rows of'],
  },
  {
    id: 'audit-for-admins',
    against: 'members who do not answer for the organisation reading who did what',
    without: { sql: 'ALTER POLICY audit_log_admin_read ON audit_log USING (is_member(org_id))' },
    falls: [RESOLUTIONS, 'the audit log is for owners and admins'],
  },
  {
    id: 'audit-in-the-act',
    against: 'an act of a person that is not written down',
    without: {
      file: 'apps/api/src/engine/audit-run.ts',
      find: 'if (!event.actorId) return after',
      put: 'return after',
    },
    falls: [RESOLVE, 'are in the audit log'],
  },
  {
    id: 'may-answer',
    against: 'resolving a call whose answer may still come',
    without: {
      file: 'apps/api/src/engine/resolve-calls.ts',
      find: 'found.filter((call) => !call.mayAnswer)',
      put: 'found.filter(() => true)',
    },
    falls: [RESOLVE, 'while the worker lives that may still tell'],
  },
  {
    id: 'answer-before-person',
    against: 'losing the money of an answer that comes after a person called it not charged',
    without: {
      file: 'apps/api/src/engine/book.ts',
      find: 'await overruleResolved(tx, late)',
      put: 'await overruleResolved(tx, late.slice(late.length))',
    },
    falls: [RESOLVE, 'is booked beyond the cap, once, and shown'],
  },
  {
    id: 'report-only-when-equal',
    against: 'releasing suspect calls that a provider may have charged',
    without: { file: RECONCILER, find: 'if (more > 0)', put: 'if (more > 1e9)' },
    falls: [RECONCILE, 'that counts more settles nothing'],
  },
  {
    id: 'report-at-rest',
    against: 'a conclusion while calls are in flight',
    without: { file: RECONCILER, find: 'if (held > 0)', put: 'if (held > 1e9)' },
    falls: [RECONCILE, 'while calls are in flight'],
  },
  {
    id: 'report-of-a-sandbox',
    against: 'a conclusion from a report nobody knows the delay of',
    without: { file: RECONCILER, find: 'if (!account.sandbox)', put: 'if (!account.id)' },
    falls: [RECONCILE, 'from the report of a live account'],
  },
  {
    id: 'a-word-is-no-proof',
    against: 'counting what a person settled as what a provider charged',
    without: { file: 'apps/api/src/ledger/account-calls.ts', find: ' and not m.claimed', put: '' },
    falls: [RECONCILE, 'does not take a person for proof'],
  },
]
