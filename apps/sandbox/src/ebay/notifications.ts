/** eBay's account deletion notifications: keys of its own, public keys by id, signed notices. Told once, nobody is deleted here. */
import { createSign, generateKeyPairSync, randomBytes, randomUUID } from 'node:crypto'
import { z } from 'zod'
import { type Ask, json, type Reply } from '../exchange.ts'

const PUBLIC_KEY = '/commerce/notification/v1/public_key/'

export const NoticeSchema = z.strictObject({
  username: z.string().optional(),
  userId: z.string().optional(),
  notificationId: z.string().optional(),
  /** Grows with every repeat; the id stays. */
  attempt: z.int().min(1).default(1),
  /** What is wrong with it: the body is changed after it was signed, another key signed it, or nobody knows the key. */
  spoil: z.enum(['body', 'key', 'kid']).optional(),
})

export const KeySchema = z.strictObject({ kid: z.string(), answer: z.record(z.string(), z.unknown()) })

export type Notifications = Readonly<{
  /** getPublicKey. The token was checked. */
  publicKey: (ask: Ask) => Reply
  /** Makes a notice: its body as eBay would send it, and the header that goes with it. */
  sign: (notice: z.infer<typeof NoticeSchema>) => Readonly<{ notificationId: string; body: string; signature: string }>
  /** Answers getPublicKey for this id with this, from now on: for the vectors of others. */
  addKey: (kid: string, answer: Readonly<Record<string, unknown>>) => void
}>

export function createNotifications(): Notifications {
  const own = generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
  const other = generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
  const kid = randomUUID()
  // As eBay sends it: no line breaks.
  const pem = own.publicKey.export({ type: 'spki', format: 'pem' }).toString().replaceAll('\n', '')
  const answers = new Map<string, unknown>([[kid, { algorithm: 'ECDSA', digest: 'SHA1', key: pem }]])

  return {
    publicKey: (ask) => {
      const answer = answers.get(decodeURIComponent(ask.path.slice(PUBLIC_KEY.length)))
      if (answer !== undefined) return json(200, answer)
      const error = { errorId: 195001, domain: 'API_NOTIFICATION', category: 'REQUEST', message: 'Invalid key id.' }
      return json(404, { errors: [error] })
    },
    sign: ({ username, userId, attempt, spoil, ...notice }) => {
      const notificationId = notice.notificationId ?? `${randomUUID()}_${randomUUID()}`
      const at = new Date().toISOString()
      const data = {
        ...(username === undefined ? {} : { username }),
        ...(userId === undefined ? {} : { userId }),
        eiasToken: randomBytes(60).toString('base64'),
      }
      const body = JSON.stringify({
        metadata: { topic: 'MARKETPLACE_ACCOUNT_DELETION', schemaVersion: '1.0', deprecated: false },
        notification: { notificationId, eventDate: at, publishDate: at, publishAttemptCount: attempt, data },
      })
      const signer = spoil === 'key' ? other : own
      const signature = createSign('sha1').update(body).sign(signer.privateKey).toString('base64')
      const header = { alg: 'ecdsa', kid: spoil === 'kid' ? randomUUID() : kid, signature, digest: 'SHA1' }
      return {
        notificationId,
        body: spoil === 'body' ? body.replace('"deprecated":false', '"deprecated":true') : body,
        signature: Buffer.from(JSON.stringify(header)).toString('base64'),
      }
    },
    addKey: (id, answer) => answers.set(id, answer),
  }
}
