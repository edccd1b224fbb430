/** eBay's account deletion notifications: proved to be eBay's, written down durably, carried out by workers (erase.ts). */
import type { EbayDeletionConfig } from '../base/config.ts'
import { AppError } from '../base/errors.ts'
import { newId } from '../base/ids.ts'
import { insertErasure } from '../compliance/erasures.ts'
import type { Subject } from '../compliance/subject.ts'
import type { Db } from '../db/client.ts'
import { normaliseSellerName } from '../matching/normalise.ts'
import {
  challengeResponse,
  isSigned,
  type PublicKeys,
  publicKeys,
  readDeletion,
  readSignatureHeader,
} from '../providers/ebay-notifications.ts'
import { missingKey } from '../secrets/installation.ts'
import { openAccount } from './account-credentials.ts'
import { type Account, listAccounts } from './accounts.ts'

/** eBay's hosts: a key from anywhere else proves nothing. */
const EBAY_HOSTS: ReadonlySet<string> = new Set(['https://api.ebay.com', 'https://api.sandbox.ebay.com'])

export type Accepted =
  /** Written down: it is erased within the hour. `repeated`: it was before. */
  | Readonly<{ kind: 'accepted'; repeated: boolean }>
  /** eBay did not sign this. */
  | Readonly<{ kind: 'not_signed' }>
  /** It cannot be said now; eBay is to send it again. */
  | Readonly<{ kind: 'unable'; why: string }>

export type DeletionDesk = Readonly<{
  /** What eBay expects as answer to its challenge. */
  answer: (challengeCode: string) => string
  /** Decides over a notification: the body as it came, byte for byte, and the header x-ebay-signature. Never throws. */
  accept: (body: Buffer, signature: string | undefined) => Promise<Accepted>
}>

/** The desk for eBay's notifications. */
export function deletionDesk(
  options: Readonly<{
    db: Db
    env: NodeJS.ProcessEnv
    config: EbayDeletionConfig
    log: (message: string, facts?: Record<string, unknown>) => void
  }>,
): DeletionDesk {
  const { db, env, config, log } = options
  let keys: Readonly<{ accountId: string; keys: PublicKeys }> | null = null

  /** Opened anew when the account is another, so that new credentials are taken up with the next key asked for. */
  async function keysOfEbay(): Promise<PublicKeys> {
    const account = chooseAccount(await listAccounts(db), config.account)
    if (keys?.accountId !== account.id) {
      keys = { accountId: account.id, keys: publicKeys(await openAccount(db, account, env)) }
    }
    return keys.keys
  }

  async function decide(body: Buffer, header: string | undefined): Promise<Accepted> {
    const signature = readSignatureHeader(header)
    if (!signature) return { kind: 'not_signed' }
    const found = await (await keysOfEbay()).get(signature.kid)
    if (!found.ok) return { kind: 'unable', why: found.message }
    if (!isSigned(body, signature, found.key)) return { kind: 'not_signed' }
    const notice = readDeletion(body)
    if (!notice) return { kind: 'unable', why: 'a notification that eBay signed does not have the expected shape' }
    if (notice.kind === 'other') {
      log('a notification of eBay about something else was left alone', { topic: notice.topic })
      return { kind: 'accepted', repeated: false }
    }
    const { secrets } = db
    if (!secrets) throw missingKey()
    const { notificationId } = notice
    const subject = subjectOf(notice)
    if (subject.names.length + subject.ids.length === 0) return { kind: 'unable', why: 'it names nobody' }
    const asked = { id: newId(), source: 'ebay', notificationId, orgId: null, requestedBy: null, subject } as const
    return { kind: 'accepted', repeated: !(await insertErasure(db, secrets, asked)) }
  }

  return {
    answer: (challengeCode) => challengeResponse(challengeCode, config.verificationToken, config.endpoint),
    accept: async (body, signature) => {
      const accepted = await decide(body, signature).catch((error: unknown): Accepted => {
        keys = null
        return { kind: 'unable', why: error instanceof Error ? error.message : String(error) }
      })
      if (accepted.kind === 'unable') {
        log('a deletion notification could not be decided; eBay sends it again', { why: accepted.why })
      }
      return accepted
    },
  }
}

/** Whom a notification names. Developers of some countries are given the id in place of the name; then it is looked for as both. */
export function subjectOf(notice: Readonly<{ username: string | null; userId: string | null }>): Subject {
  const name = notice.username === null ? '' : normaliseSellerName(notice.username)
  return { names: name === '' ? [] : [name], ids: notice.userId === null ? [] : [notice.userId], sellers: [] }
}

/**
 * The account whose credentials fetch eBay's keys: the one named, or the only eBay account that is not the sandbox's. Throws
 * AppError `compliance.not_configured` when there is none, or it is not at eBay.
 */
export function chooseAccount(accounts: readonly Account[], wanted: string | null): Account {
  const refuse = (message: string): never => {
    throw new AppError('compliance.not_configured', message, {
      hint: 'Name an eBay account in GLEANER_EBAY_DELETION_ACCOUNT.',
    })
  }
  const ofEbay = accounts.filter(({ adapter }) => adapter === 'ebay_browse')
  const candidates =
    wanted === null ? ofEbay.filter(({ sandbox }) => !sandbox) : ofEbay.filter(({ name }) => name === wanted)
  const [account, ...others] = candidates
  if (!account) return refuse(wanted === null ? 'There is no eBay account.' : `There is no eBay account ${wanted}.`)
  if (others.length > 0) return refuse('There are several eBay accounts.')
  // The sandbox is named on purpose, or not taken at all.
  if (!account.sandbox && !EBAY_HOSTS.has(account.baseUrl)) return refuse(`The account ${account.name} is not at eBay.`)
  return account
}
