/** An OpenID Connect provider: discovery, keys, code flow with PKCE. It lets in whoever `next` says, and is as strict as one. */
import { createHash, randomUUID } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { exportJWK, generateKeyPair, SignJWT } from 'jose'

export type Profile = Readonly<{ sub: string; email: string; email_verified: boolean; name: string }>

export type IdentityProvider = Readonly<{
  issuer: string
  /** Who signs in with the next authorisation. */
  next: {
    profile: Profile /** Claims put over those of the next token. */
    claims?: Record<string, unknown>
    otherKey?: boolean
  }
  /** Requests of the token endpoint that were refused, with why. */
  refused: string[]
  close(): Promise<void>
}>

export const CLIENT = { clientId: 'gleaner', clientSecret: 'a client secret' } as const

type Grant = Readonly<{ challenge: string; redirectUri: string; nonce: string | null; profile: Profile }>

/** Starts it. Close it when done. */
export async function identityProvider(profile: Profile): Promise<IdentityProvider> {
  const { publicKey, privateKey } = await generateKeyPair('ES256', { extractable: true })
  const stranger = await generateKeyPair('ES256')
  const jwk = { ...(await exportJWK(publicKey)), kid: 'one', alg: 'ES256', use: 'sig' }
  const grants = new Map<string, Grant>()
  const next: IdentityProvider['next'] = { profile }
  const refused: string[] = []
  const server = createServer((request, response) => {
    handle(request, response).catch((error: unknown) => {
      refused.push(String(error))
      response.writeHead(400, { 'content-type': 'application/json' }).end(JSON.stringify({ error: 'invalid_grant' }))
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const json = (response: ServerResponse, body: unknown) =>
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body))

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', issuer)
    if (url.pathname === '/.well-known/openid-configuration') json(response, discovery(issuer))
    else if (url.pathname === '/jwks') json(response, { keys: [jwk] })
    else if (url.pathname === '/authorize') authorize(url, response)
    else if (url.pathname === '/token') json(response, await token(request))
    else response.writeHead(404).end()
  }

  function authorize(url: URL, response: ServerResponse): void {
    const ask = url.searchParams
    if (ask.get('client_id') !== CLIENT.clientId || ask.get('response_type') !== 'code')
      throw new Error('another client')
    if (ask.get('code_challenge_method') !== 'S256') throw new Error('no PKCE')
    const code = randomUUID()
    const redirectUri = ask.get('redirect_uri') ?? ''
    grants.set(code, {
      challenge: ask.get('code_challenge') ?? '',
      redirectUri,
      nonce: ask.get('nonce'),
      profile: next.profile,
    })
    const back = new URL(redirectUri)
    back.searchParams.set('code', code)
    back.searchParams.set('state', ask.get('state') ?? '')
    response.writeHead(302, { location: back.href }).end()
  }

  async function token(request: IncomingMessage): Promise<unknown> {
    const form = new URLSearchParams(await bodyOf(request))
    const basic = Buffer.from((request.headers.authorization ?? '').replace(/^Basic /, ''), 'base64').toString()
    const secret = form.get('client_secret') ?? basic.split(':')[1]
    if (secret !== CLIENT.clientSecret) throw new Error('the client secret is wrong')
    const grant = grants.get(form.get('code') ?? '')
    grants.delete(form.get('code') ?? '')
    if (!grant) throw new Error('the code is not known')
    const proof = createHash('sha256')
      .update(form.get('code_verifier') ?? '')
      .digest('base64url')
    if (proof !== grant.challenge) throw new Error('the code verifier is wrong')
    if (form.get('redirect_uri') !== grant.redirectUri) throw new Error('the address is another one')
    const claims = { ...grant.profile, ...(grant.nonce === null ? {} : { nonce: grant.nonce }), ...next.claims }
    const idToken = await new SignJWT({
      iss: issuer,
      aud: CLIENT.clientId,
      exp: Math.floor(Date.now() / 1000) + 300,
      ...claims,
    })
      .setProtectedHeader({ alg: 'ES256', kid: 'one' })
      .setIssuedAt()
      .sign(next.otherKey ? stranger.privateKey : privateKey)
    return {
      access_token: randomUUID(),
      token_type: 'Bearer',
      expires_in: 300,
      id_token: idToken,
      scope: 'openid email profile',
    }
  }

  return { issuer, next, refused, close: () => new Promise((resolve) => server.close(() => resolve())) }
}

const discovery = (issuer: string) => ({
  issuer,
  authorization_endpoint: `${issuer}/authorize`,
  token_endpoint: `${issuer}/token`,
  jwks_uri: `${issuer}/jwks`,
  response_types_supported: ['code'],
  subject_types_supported: ['public'],
  id_token_signing_alg_values_supported: ['ES256'],
  code_challenge_methods_supported: ['S256'],
})

async function bodyOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString()
}
