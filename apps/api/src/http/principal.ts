/** Who asks. How that is found out is not said here: sessions, keys and tokens all come to a `Principal`. */
import type { FastifyRequest } from 'fastify'
import { AppError } from '../base/errors.ts'
import type { Member, Role } from '../db/session.ts'

export type Principal = Readonly<{
  kind: 'person' | 'key'
  /** auth.users(id); of a key, the person it belongs to. */
  userId: string
  /** As shown beside what they did. */
  name: string
  /** Of a key: its id, the role it does not go beyond, the only organisation it works in, and what it was made for. */
  keyId?: string
  maxRole?: Role
  orgId?: string
  scopes?: readonly string[]
  /** Of a person with an account of ours: the session the request came with. */
  sessionId?: string
}>

/**
 * Finds out who sent the request; null when nobody says so. Throws AppError `auth.required` for credentials that were
 * given and are not valid. It reads headers only: the body has not arrived yet.
 */
export type Authenticate = (request: FastifyRequest) => Promise<Principal | null>

/** The claims under which the principal's statements run, in the organisation `orgId` when the route names one. */
export function memberOf(principal: Principal, orgId?: string): Member {
  const org = principal.kind === 'key' ? (principal.orgId ?? orgId) : orgId
  if (principal.kind === 'person') return { userId: principal.userId, ...(org === undefined ? {} : { orgId: org }) }
  const { keyId, maxRole, userId } = principal
  if (keyId === undefined || maxRole === undefined || org === undefined) {
    throw new Error('a key has an id, a role and an organisation')
  }
  return { userId, orgId: org, key: { id: keyId, maxRole } }
}

/** One name for each person and each key. */
export function principalOf({ kind, keyId, userId }: Principal): string {
  return `${kind}:${kind === 'key' ? keyId : userId}`
}

/** The refusal of a request nobody signed. */
export function signInFirst(): AppError {
  return new AppError('auth.required', 'Nobody is signed in.', { hint: 'Sign in, or send a valid API key.' })
}
