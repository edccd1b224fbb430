/** How people sign in, read from the environment once and checked. */
import { z } from 'zod'
import { AppError } from '../base/errors.ts'

export type OidcConfig = Readonly<{
  issuer: string
  clientId: string
  clientSecret: string
  /** What the button says. */
  name: string
  /** Domains whose people may come in, lower case; empty = only those who are invited or have an account. */
  domains: readonly string[]
  /** The role in the installation's first organisation of people of these domains who are new. */
  defaultRole: 'admin' | 'analyst' | 'viewer'
}>

export type SupabaseConfig = Readonly<{
  /** https://<project>.supabase.co */
  url: string
  /** For projects that still sign with a shared secret (HS256). */
  jwtSecret: string | null
}>

export type AuthConfig = Readonly<{
  /** `local`: accounts of ours. `supabase`: people of a Supabase project; there are no accounts of ours then. */
  kind: 'local' | 'supabase'
  oidc: OidcConfig | null
  supabase: SupabaseConfig | null
}>

const optional = <T extends z.ZodType>(schema: T) => z.preprocess((value) => (value === '' ? undefined : value), schema)
const address = optional(z.url({ protocol: /^https?$/ }).optional())
const text = optional(z.string().optional())

const environment = z.object({
  GLEANER_AUTH: optional(z.enum(['local', 'supabase']).default('local')),
  GLEANER_OIDC_ISSUER: address,
  GLEANER_OIDC_CLIENT_ID: text,
  GLEANER_OIDC_CLIENT_SECRET: text,
  GLEANER_OIDC_NAME: text,
  GLEANER_OIDC_DOMAINS: text,
  GLEANER_OIDC_DEFAULT_ROLE: optional(z.enum(['admin', 'analyst', 'viewer']).default('viewer')),
  GLEANER_SUPABASE_URL: address,
  GLEANER_SUPABASE_JWT_SECRET: optional(z.string().min(32, 'needs at least 32 characters').optional()),
})

/** The configuration in `env`. Throws AppError input.invalid naming every variable that is wrong, never its value. */
export function readAuthConfig(env: NodeJS.ProcessEnv = process.env): AuthConfig {
  const parsed = environment.safeParse(env)
  if (!parsed.success) {
    throw wrong(parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`))
  }
  const { data } = parsed
  const supabase = data.GLEANER_SUPABASE_URL
    ? { url: data.GLEANER_SUPABASE_URL.replace(/\/+$/, ''), jwtSecret: data.GLEANER_SUPABASE_JWT_SECRET ?? null }
    : null
  if (data.GLEANER_AUTH === 'supabase' && !supabase)
    throw wrong(['GLEANER_SUPABASE_URL: needed with GLEANER_AUTH=supabase'])
  return {
    kind: data.GLEANER_AUTH,
    oidc: readOidc(data),
    supabase: data.GLEANER_AUTH === 'supabase' ? supabase : null,
  }
}

function readOidc(data: z.infer<typeof environment>): OidcConfig | null {
  const {
    GLEANER_OIDC_ISSUER: issuer,
    GLEANER_OIDC_CLIENT_ID: clientId,
    GLEANER_OIDC_CLIENT_SECRET: clientSecret,
  } = data
  if (!issuer && !clientId && !clientSecret) return null
  const missing = Object.entries({
    GLEANER_OIDC_ISSUER: issuer,
    GLEANER_OIDC_CLIENT_ID: clientId,
    GLEANER_OIDC_CLIENT_SECRET: clientSecret,
  }).filter(([, value]) => !value)
  if (missing.length > 0) throw wrong(missing.map(([name]) => `${name}: needed for sign-in by an identity provider`))
  const domains = (data.GLEANER_OIDC_DOMAINS ?? '').split(/[\s,]+/).filter(Boolean)
  return {
    issuer: (issuer ?? '').replace(/\/+$/, ''),
    clientId: clientId ?? '',
    clientSecret: clientSecret ?? '',
    name: data.GLEANER_OIDC_NAME ?? 'Single sign-on',
    domains: domains.map((domain) => domain.toLowerCase().replace(/^@/, '')),
    defaultRole: data.GLEANER_OIDC_DEFAULT_ROLE,
  }
}

function wrong(problems: readonly string[]): AppError {
  return new AppError('input.invalid', `the environment is not valid: ${problems.join('; ')}`, {
    hint: 'Correct these variables, or unset them. docs/sign-in.md describes each.',
  })
}
