/** What an API key may be used for: the scope a route takes, from what the route is. */
import type { Scope } from '../auth/keys.ts'
import { AppError } from '../base/errors.ts'
import type { Principal } from './principal.ts'
import { isOfOrg, isWrite, type Route, type Tag } from './route.ts'

/** Which scope writes of a kind take; null = people only, never a key. */
const WRITES: Readonly<Record<Tag, Scope | null>> = {
  Organisations: null,
  People: null,
  Keys: null,
  Settings: 'settings:write',
  Providers: 'settings:write',
  Categories: 'runs:write',
  Runs: 'runs:write',
  Sellers: 'sellers:write',
  Exports: 'exports:write',
  Live: 'read',
  Audit: null,
  Compliance: 'sellers:write',
  Operation: null,
}

/** The scope a key needs for the route; null when no key may use it. */
export function scopeOf(route: Pick<Route, 'method' | 'path' | 'tag'>): Scope | null {
  if (route.tag === 'People' && !isOfOrg(route)) return null
  return isWrite(route) ? WRITES[route.tag] : 'read'
}

/** Throws AppError `auth.session_needed` or `auth.scope_missing` when the principal is a key that may not use the route. */
export function checkScope(route: Pick<Route, 'method' | 'path' | 'tag'>, principal: Principal): void {
  if (principal.kind !== 'key') return
  const scope = scopeOf(route)
  if (scope === null) {
    throw new AppError('auth.session_needed', 'This is for people, not for API keys.', {
      hint: 'Sign in and do it yourself.',
    })
  }
  if (principal.scopes?.includes(scope)) return
  throw new AppError('auth.scope_missing', `This API key was not made for this: it lacks the scope ${scope}.`, {
    hint: 'Make a key with that scope in Settings, Keys.',
  })
}
