/** People, organisations, invitations and keys as the API has them. */
import { z } from 'zod'
import { KEY_ROLES, SCOPES } from '../../auth/keys.ts'
import { PASSWORD_LENGTH } from '../../auth/local.ts'
import { line, moment as time } from './common.ts'

export const role = z
  .enum(['owner', 'admin', 'analyst', 'viewer'])
  .describe(
    'viewer reads; analyst edits sellers too; admin also starts runs and changes settings; owner also decides on members.',
  )

export const email = z.email().max(254).describe('Upper and lower case are the same.')
export const password = z
  .string()
  .min(PASSWORD_LENGTH.least)
  .max(PASSWORD_LENGTH.most)
  .describe(`${PASSWORD_LENGTH.least} to ${PASSWORD_LENGTH.most} characters, whichever you like.`)
/** Any text: what is wrong is answered the same way whatever its length. */
export const givenPassword = z.string().max(1000).describe('The password as it is now.')
export const personName = line(100).describe('As others see it.')
export const linkToken = z.string().min(20).max(100).describe('What stands behind # in the link.')

export const signedIn = z
  .object({
    signedIn: z.boolean().describe('False: the second factor is still to be given, to POST /api/v1/auth/code.'),
  })
  .meta({ id: 'SignedIn' })

export const org = z
  .object({
    id: z.uuid(),
    name: z.string(),
    role: role.describe('Your role in it.'),
    createdAt: time,
  })
  .meta({ id: 'Organisation' })

export const orgName = line(200)

export const me = z
  .object({
    id: z.uuid(),
    name: z.string().nullable(),
    email: z.string().nullable().describe('Null until the owner has given one.'),
    hasPassword: z.boolean().describe('False: set one, so that you can come back.'),
    secondFactor: z.boolean(),
    identity: z.boolean().describe('Signs in by the identity provider, too.'),
    orgs: z.array(org),
  })
  .meta({ id: 'Me' })

export const session = z
  .object({
    id: z.uuid(),
    current: z.boolean().describe('The one this request came with.'),
    createdAt: time,
    lastSeenAt: time.describe('Within the hour.'),
    expiresAt: time,
    address: z.string().nullable(),
    userAgent: z.string().nullable(),
  })
  .meta({ id: 'Session' })

export const member = z
  .object({
    userId: z.uuid(),
    name: z.string().nullable(),
    email: z.string().nullable(),
    role,
    since: time,
  })
  .meta({ id: 'Member' })

export const invitation = z
  .object({
    id: z.uuid(),
    email: z.string(),
    role,
    state: z.enum(['open', 'accepted', 'revoked', 'expired']),
    invitedBy: z.uuid(),
    createdAt: time,
    expiresAt: time,
    acceptedAt: time.nullable(),
    acceptedBy: z.uuid().nullable(),
    revokedAt: time.nullable(),
  })
  .meta({ id: 'Invitation' })

export const scope = z
  .enum(SCOPES)
  .describe(
    'read: everything the role sees; the others: writes of that kind. Members, roles and keys are never for keys.',
  )

export const apiKey = z
  .object({
    id: z.uuid(),
    name: z.string(),
    prefix: z.string().describe('Its first characters, by which it is recognised.'),
    lastFour: z.string(),
    scopes: z.array(scope),
    maxRole: z.enum(KEY_ROLES).describe('It does no more than this role, and never more than the person who made it.'),
    createdBy: z.uuid(),
    createdAt: time,
    expiresAt: time.nullable().describe('Null: until it is revoked.'),
    lastUsedAt: time.nullable().describe('Within the minute.'),
    revokedAt: time.nullable(),
  })
  .meta({ id: 'ApiKey' })
