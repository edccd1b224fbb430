/** Guards of the HTTP door, and of what the database lets people and keys see and do. */
import type { Guard } from './list.ts'

const HTTP = 'apps/api/test/http'
const SRC = 'apps/api/src/http'
const MATRIX = 'apps/api/test/db/access-matrix.test.ts'

export const DOOR: readonly Guard[] = [
  {
    id: 'one-org-at-a-time',
    against: 'runs of another organisation of the same person, where the claims name one',
    without: { sql: 'DROP POLICY collection_runs_claim_org ON collection_runs' },
    falls: [MATRIX, 'is read by those who may'],
  },
  {
    id: 'key-below-its-person',
    against: 'a key that does what its role does not allow, because its person may',
    without: {
      file: 'apps/api/migrations/054_api_access.sql',
      find: `coalesce(array_position(roles, claims ->> 'max_role') >= array_position(roles, at_least), false)`,
      put: 'true',
    },
    falls: [MATRIX, 'by those who may, and in no other'],
  },
  {
    id: 'acts-for-admins',
    against: 'an act on a run by somebody whose role does not allow it, when the gate was asked for too little',
    without: {
      sql: `ALTER POLICY collection_runs_admin_update ON collection_runs USING (gleaner_has_role(org_id, 'viewer'))`,
    },
    falls: ['apps/api/test/db/acting.test.ts', 'is refused by row level security alone'],
  },
  {
    id: 'audit-in-own-name',
    against: 'a row of the audit log in the name of another person',
    without: {
      sql: `ALTER POLICY audit_log_member_append ON audit_log WITH CHECK (org_id = gleaner_claim_org())`,
    },
    falls: [MATRIX, 'takes no row in the name of another person'],
  },
  {
    id: 'gate-before-service',
    against: 'an act of the engine that nobody asked the database about',
    without: { file: 'apps/api/src/db/acting.ts', find: '    await passGate(tx, gate)\n', put: '' },
    falls: ['apps/api/test/db/acting.test.ts', 'is refused to the'],
  },
  {
    id: 'role-given-back',
    against: 'statements of a request that run as a worker after an act',
    without: { file: 'apps/api/src/db/acting.ts', find: "    await setRole(tx, 'authenticated')\n", put: '' },
    falls: ['apps/api/test/db/acting.test.ts', 'leaves the transaction the member'],
  },
  {
    id: 'route-asks-for-role',
    against: 'a route that answers whoever belongs to the organisation, whatever the role',
    without: {
      file: `${SRC}/mount.ts`,
      find: '  if (!rows[0].may) throw (await tooLow?.(tx, orgId)) ?? roleTooLow(access as Role)\n',
      put: '',
    },
    falls: [`${HTTP}/matrix.test.ts`, 'each role and key'],
  },
  {
    id: 'nobody-is-refused',
    against: 'a route that answers somebody who is not signed in',
    without: { file: `${SRC}/mount.ts`, find: '      if (!principal) throw signInFirst()\n', put: '' },
    falls: [`${HTTP}/matrix.test.ts`, 'not nobody'],
  },
  {
    id: 'same-site-writes',
    against: 'a page of another site that writes with a cookie of this one',
    without: { file: `${SRC}/app.ts`, find: '    checkSameSite(request, deps.publicOrigin)\n', put: '' },
    falls: [`${HTTP}/requests.test.ts`, 'is refused with'],
  },
  {
    id: 'json-depth',
    against: 'a body nested so deep that whoever walks it falls',
    without: {
      file: `${SRC}/request-rules.ts`,
      find: '    if (depth > DEPTH_MOST)',
      put: '    if (depth > Number.MAX_VALUE)',
    },
    falls: [`${HTTP}/requests.test.ts`, 'is refused'],
  },
  {
    id: 'write-done-once',
    against: 'a write done twice because its answer was lost',
    without: {
      file: `${SRC}/mount.ts`,
      find: '  const before = known ? await remember(tx, known) : null\n',
      put: '  const before = known && Date.now() < 0 ? await remember(tx, known) : null\n',
    },
    falls: [`${HTTP}/runs.test.ts`, 'does a write once'],
  },
  {
    id: 'version-compared-locked',
    against: 'two people who overwrite each other unseen',
    without: {
      file: `${SRC}/routes/settings.ts`,
      find: "    await tx.query('select from collection_settings where org_id = $1 for no key update', [orgId])\n",
      put: '',
    },
    falls: [`${HTTP}/runs.test.ts`, 'of two who change them at once'],
  },
  {
    id: 'cursor-is-checked',
    against: 'a cursor made by hand that the database cannot read',
    without: {
      file: `${SRC}/paging.ts`,
      find: '!FORMS[order.key].test(data[1]) || !FORMS[order.id].test(data[2])',
      put: 'false',
    },
    falls: [`${HTTP}/runs.test.ts`, 'take no cursor of another list'],
  },
  {
    id: 'figures-for-this-machine',
    against: 'figures of the whole installation for whoever asks',
    without: {
      file: `${SRC}/metrics.ts`,
      find: "    checkReader(request, deps.env['GLEANER_METRICS_TOKEN'])\n",
      put: '',
    },
    falls: [`${HTTP}/requests.test.ts`, 'is for this machine'],
  },
]
