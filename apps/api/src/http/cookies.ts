/** Cookies an answer sets: sign-in decides on them while a request is looked at, long before there is an answer. */
import type { FastifyReply, FastifyRequest } from 'fastify'

const given = new WeakMap<FastifyRequest, string[]>()

/** Has the answer to this request set these cookies, each as a Set-Cookie header has it. A later one of the same name goes before. */
export function giveCookies(request: FastifyRequest, cookies: readonly string[]): void {
  const names = new Set(cookies.map(nameOf))
  const kept = (given.get(request) ?? []).filter((cookie) => !names.has(nameOf(cookie)))
  given.set(request, [...kept, ...cookies])
}

const nameOf = (cookie: string): string => cookie.slice(0, cookie.indexOf('='))

/** For the hook `onSend`. */
export async function sendCookies(request: FastifyRequest, reply: FastifyReply): Promise<void> {
  const cookies = given.get(request)
  if (cookies && cookies.length > 0) reply.header('set-cookie', cookies)
}
