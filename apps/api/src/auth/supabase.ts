/** People of a Supabase project: their access tokens, checked against its keys. */
import { createRemoteJWKSet, errors, type JWTPayload, type JWTVerifyOptions, jwtVerify } from 'jose'
import { AppError } from '../base/errors.ts'
import type { SupabaseConfig } from './config.ts'

export type TokenHolder = Readonly<{ userId: string; name: string }>

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

/**
 * Checks access tokens of the project: signature (its published keys, or the shared secret of a project that still signs with
 * one), issuer, audience, expiry, a person as its subject. The returned function throws AppError `auth.token_invalid`, and
 * `auth.provider_down` when the keys cannot be had.
 */
export function tokenChecker(config: SupabaseConfig): (token: string) => Promise<TokenHolder> {
  const issuer = `${config.url}/auth/v1`
  const keys = createRemoteJWKSet(new URL(`${issuer}/.well-known/jwks.json`), { timeoutDuration: 5000 })
  const secret = config.jwtSecret === null ? null : new TextEncoder().encode(config.jwtSecret)
  const rules: JWTVerifyOptions = {
    issuer,
    audience: 'authenticated',
    requiredClaims: ['exp', 'sub'],
    clockTolerance: 5,
  }
  return async (token) => {
    try {
      // The secret checks HS256 and nothing else, published keys never do: a public key must not become a secret.
      const { payload } =
        secret !== null && algorithmOf(token) === 'HS256'
          ? await jwtVerify(token, secret, { ...rules, algorithms: ['HS256'] })
          : await jwtVerify(token, keys, { ...rules, algorithms: ['ES256', 'RS256', 'EdDSA'] })
      return holderOf(payload)
    } catch (error) {
      throw refused(error)
    }
  }
}

function algorithmOf(token: string): unknown {
  try {
    return (JSON.parse(Buffer.from(token.split('.')[0] ?? '', 'base64url').toString()) as { alg?: unknown }).alg
  } catch {
    return undefined
  }
}

function holderOf(payload: JWTPayload): TokenHolder {
  const { sub, role, email, user_metadata: meta } = payload as JWTPayload & Record<string, unknown>
  // The keys of the project itself (anon, service_role) are signed alike and are nobody.
  if (role !== 'authenticated' || typeof sub !== 'string' || !UUID.test(sub))
    throw invalid("This token is not a person's.")
  const { name, full_name: fullName } = (meta ?? {}) as Record<string, unknown>
  const shown = [name, fullName, email].find((value) => typeof value === 'string' && value !== '')
  return { userId: sub, name: typeof shown === 'string' ? shown : 'A person without a name' }
}

function refused(error: unknown): unknown {
  if (error instanceof AppError) return error
  if (error instanceof errors.JWTExpired) return invalid('This token has expired.', error)
  const unreachable =
    !(error instanceof errors.JOSEError) || error instanceof errors.JWKSTimeout || error.code === 'ERR_JOSE_GENERIC'
  if (unreachable) {
    return new AppError('auth.provider_down', 'The keys of the Supabase project cannot be had.', { cause: error })
  }
  return invalid('This token is not valid.', error)
}

function invalid(message: string, cause?: unknown): AppError {
  return new AppError('auth.token_invalid', message, { hint: 'Sign in again.', cause })
}
