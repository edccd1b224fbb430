/** Guards of the key, of credentials, of erasing and of keeping no longer than needed. */
import type { Guard } from './list.ts'

const ERASE = 'apps/api/test/compliance/erase.test.ts'
const KEY = 'apps/api/test/secrets/installation.test.ts'
const CREDENTIALS = 'apps/api/test/engine/account-credentials.test.ts'
const DELETION = 'apps/api/test/engine/accept-deletion.test.ts'
const NOTIFICATIONS = 'apps/api/test/providers/ebay-notifications.test.ts'

export const COMPLIANCE: readonly Guard[] = [
  {
    id: 'erased-is-left-out',
    against: 'collecting an erased seller again',
    without: {
      file: 'apps/api/src/engine/leave-out.ts',
      find: 'if (version === 0 || sellers.length === 0) return NOBODY',
      put: 'if (version >= 0) return NOBODY',
    },
    falls: [ERASE, 'does not collect it again'],
  },
  {
    id: 'lanes-forget',
    against: 'evidence of an erased seller that a lane still knows',
    without: {
      file: 'apps/api/src/sellers/known.ts',
      find: 'heeded = version\n      young = new Map()\n      old = new Map()',
      put: 'heeded = version',
    },
    falls: [ERASE, 'under way while a seller is erased'],
  },
  {
    id: 'erasing-waits-for-bookings',
    against: 'a booking that did not see the tombstone and commits after the erasure has looked',
    without: {
      inFunction: 'gleaner_compliance_version',
      find: 'PERFORM pg_advisory_xact_lock_shared(724102, 1);',
      put: '',
    },
    falls: [ERASE, 'is waited for by who puts a seller on a list'],
  },
  {
    id: 'no-booking-without-key',
    against: 'recording an erased seller because the process cannot tell who was erased',
    without: {
      file: 'apps/api/src/engine/leave-out.ts',
      find: 'if (!secrets && (await hasTombstones(tx, orgId))) throw missingKey()',
      put: '',
    },
    falls: [ERASE, 'is refused without the key once somebody was erased'],
  },
  {
    id: 'item-renamed-when-erased-only',
    against: 'a seller item that becomes another seller',
    without: { sql: 'DROP TRIGGER collection_items_illegal ON collection_items' },
    falls: [ERASE, 'is renamed to its own erased name only'],
  },
  {
    id: 'tombstones-stay',
    against: 'a worker that forgets who was erased',
    without: { sql: 'GRANT DELETE ON compliance_tombstones TO service_role' },
    falls: [ERASE, 'cannot take tombstones away'],
  },
  {
    id: 'erased-is-nameless',
    against: 'keeping whom an erasure was about after it is done',
    without: { sql: 'ALTER TABLE compliance_erasures DROP CONSTRAINT compliance_erasures_identity_fits' },
    falls: [ERASE, 'cannot take tombstones away'],
  },
  {
    id: 'name-taken-by-another',
    against: 'erasing somebody who took the name later',
    without: {
      file: 'apps/api/src/compliance/traces.ts',
      find: 'platformId !== null && ids.length > 0 && !ids.includes(platformId) && !sellers.includes(id)',
      put: 'platformId === id',
    },
    falls: [ERASE, 'leaves who took its name later'],
  },
  {
    id: 'deletion-signed',
    against: 'erasing on the word of a stranger',
    without: {
      file: 'apps/api/src/engine/accept-deletion.ts',
      find: 'if (!isSigned(body, signature, found.key))',
      put: 'if (body.length < 0)',
    },
    falls: [DELETION, 'is not signed, and nothing is written'],
  },
  {
    id: 'keys-from-ebay',
    against: 'taking a key for eBay’s that comes from another host',
    without: {
      file: 'apps/api/src/engine/accept-deletion.ts',
      find: 'if (!account.sandbox && !EBAY_HOSTS.has(account.baseUrl))',
      put: 'if (account.baseUrl === "")',
    },
    falls: [DELETION, 'is refused when there is'],
  },
  {
    id: 'keys-asked-for-seldom',
    against: 'strangers with made-up key ids using up what eBay allows',
    without: {
      file: 'apps/api/src/providers/ebay-notifications.ts',
      find: 'if (asked.length >= ASK_MOST)',
      put: 'if (asked.length >= ASK_MOST * 1e9)',
    },
    falls: [NOTIFICATIONS, 'made up by strangers'],
  },
  {
    id: 'key-is-the-installations',
    against: 'a machine that seals and hashes with a key of its own',
    without: {
      file: 'apps/api/src/secrets/installation.ts',
      find: 'if (!isSameKey(key, known.check)) throw wrongKey(key.id, known.keyId)',
      put: '',
    },
    falls: [KEY, 'is refused when it is another'],
  },
  {
    id: 'key-file-private',
    against: 'a key file that others may read',
    without: {
      file: 'apps/api/src/secrets/key-source.ts',
      find: 'if ((statSync(source.file).mode & 0o077) !== 0)',
      put: 'if (statSync(source.file).mode < 0)',
    },
    falls: [KEY, 'others may read its file'],
  },
  {
    id: 'sealed-to-its-place',
    against: 'credentials that open under another account or as another field',
    without: {
      file: 'apps/api/src/secrets/credentials.ts',
      find: '`provider_credentials:${accountId}:${field}`',
      put: '`provider_credentials:${accountId.length}:${field.length > 0}`',
    },
    falls: [CREDENTIALS, 'open for their own account and field only'],
  },
  {
    id: 'credentials-of-an-organisation',
    against: 'one organisation replacing the credentials of another',
    without: {
      file: 'apps/api/src/engine/account-credentials.ts',
      find: 'if (!stored || stored.orgId === null || stored.orgId === orgId) return',
      put: 'if (!stored || orgId.length > 0) return',
    },
    falls: [CREDENTIALS, 'are not replaced or removed by another'],
  },
]
