/** Listening and stopping. */
import type { FastifyInstance } from 'fastify'
import { AppError } from '../base/errors.ts'

export type Listening = Readonly<{
  /** E.g. `http://127.0.0.1:4317`. */
  origin: string
  /** Takes no new requests, finishes those under way, and closes; after `withinMs` whatever is left is cut off. */
  stop: (withinMs?: number) => Promise<void>
}>

/** Where the API is when nobody says otherwise. */
export const DEFAULT_PORT = 4317
const STOP_WITHIN_MS = 10_000

/** Listens with `app` at `host` and `port` (0 = any free one). Throws AppError `input.invalid` when it cannot. */
export async function listen(app: FastifyInstance, host: string, port: number): Promise<Listening> {
  try {
    await app.listen({ host, port })
  } catch (cause) {
    const taken = (cause as NodeJS.ErrnoException).code === 'EADDRINUSE'
    throw new AppError('input.invalid', `The API cannot listen at ${host}:${port}${taken ? ': it is in use' : ''}.`, {
      hint: 'Choose another one with --port; 0 takes any that is free.',
      cause,
    })
  }
  const address = app.server.address()
  const actual = typeof address === 'object' && address ? address.port : port
  const shown = host.includes(':') ? `[${host}]` : host
  return {
    origin: `http://${shown === '0.0.0.0' ? '127.0.0.1' : shown}:${actual}`,
    stop: async (withinMs = STOP_WITHIN_MS) => {
      const cut = setTimeout(() => app.server.closeAllConnections(), withinMs)
      await app.close()
      clearTimeout(cut)
    },
  }
}
