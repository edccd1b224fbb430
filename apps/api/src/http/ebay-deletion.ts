/**
 * eBay's account deletion address: a public route of its own form. The body is kept as it came, because its signature is over
 * the bytes; and the answers are those eBay's contract names, not problem documents.
 */
import rateLimit from '@fastify/rate-limit'
import type { FastifyInstance } from 'fastify'
import type { EbayDeletionConfig } from '../base/config.ts'
import { AppError } from '../base/errors.ts'
import type { Db } from '../db/client.ts'
import { deletionDesk } from '../engine/accept-deletion.ts'

/** Where the plugin answers. */
export const DELETION_PATH = '/api/v1/webhooks/ebay/account-deletion'

/** A notification has about 600 bytes. */
const BODY_MOST = 16 * 1024
/** Of one address in a minute. eBay sends up to some 1,500 a day, in bursts. */
const PER_MINUTE = 600
const CODE_MOST = 500

export type DeletionOptions = Readonly<{
  db: Db
  env: NodeJS.ProcessEnv
  /** Null: nothing is configured, and every request answers 503. */
  config: EbayDeletionConfig | null
}>

/** A plugin that answers eBay: the challenge with its hash, a notification with 204, 412 or 500. */
export function ebayDeletion(options: DeletionOptions): (app: FastifyInstance) => Promise<void> {
  return async (app) => {
    const desk = options.config && deletionDesk({ ...options, config: options.config, log: told(app) })
    const open = () => {
      if (desk) return desk
      throw new AppError('compliance.not_configured', 'Deletion notifications of eBay are not configured here.', {
        hint: 'Set GLEANER_EBAY_DELETION_URL and GLEANER_EBAY_VERIFICATION_TOKEN.',
      })
    }
    await app.register(rateLimit, {
      max: PER_MINUTE,
      timeWindow: 60_000,
      errorResponseBuilder: () => new AppError('request.too_many', 'Too many notifications within a minute.'),
    })
    app.removeAllContentTypeParsers()
    app.addContentTypeParser('*', { parseAs: 'buffer' }, async (_request: unknown, body: Buffer) => body)

    app.get(DELETION_PATH, async (request, reply) => {
      const { challenge_code: code } = request.query as Readonly<Record<string, unknown>>
      const challenged = open()
      if (typeof code !== 'string' || code === '' || code.length > CODE_MOST) {
        throw new AppError('input.invalid', 'challenge_code is missing, or is none.')
      }
      return reply.header('cache-control', 'no-store').send({ challengeResponse: challenged.answer(code) })
    })

    app.post(DELETION_PATH, { bodyLimit: BODY_MOST }, async (request, reply) => {
      const header = request.headers['x-ebay-signature']
      const body = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0)
      const accepted = await open().accept(body, typeof header === 'string' ? header : undefined)
      const status = { accepted: 204, not_signed: 412, unable: 500 }[accepted.kind]
      return reply.code(status).header('cache-control', 'no-store').send()
    })
  }
}

function told(app: FastifyInstance): (message: string, facts?: Record<string, unknown>) => void {
  return (message, facts = {}) => app.log.warn(facts, message)
}
