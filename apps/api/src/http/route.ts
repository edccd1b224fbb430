/**
 * A route, declared in one place: what it takes, what it answers, who may. From the declaration come validation, the check
 * of who asks, the transaction as that member, the answer's check against its schema, and the OpenAPI document.
 */
import type { Readable } from 'node:stream'
import type { FastifyRequest } from 'fastify'
import type { Logger } from 'pino'
import type { z } from 'zod'
import type { SignIn } from '../auth/open.ts'
import type { ErrorCode } from '../base/errors.ts'
import type { Gate } from '../db/acting.ts'
import type { Db, Tx } from '../db/client.ts'
import type { Member, Role } from '../db/session.ts'
import type { Live } from './live/live.ts'
import type { Principal } from './principal.ts'

export type Tag =
  | 'Organisations'
  | 'People'
  | 'Keys'
  | 'Settings'
  | 'Providers'
  | 'Categories'
  | 'Runs'
  | 'Sellers'
  | 'Exports'
  | 'Live'
  | 'Audit'
  | 'Compliance'
  | 'Operation'

export type AnswerDef = Readonly<{
  description: string
  /** Of a JSON answer. Left out: no body (204), or a stream. */
  schema?: z.ZodType
  /** Content type of a streamed answer. */
  stream?: string
  /** Of an event stream: what one frame is, its datum read as JSON. For the document; frames are made by http/live. */
  frame?: z.ZodType
  example?: unknown
  /** Headers beside the usual ones, with what they say. */
  headers?: Readonly<Record<string, string>>
}>

export type Answers = Readonly<Record<number, AnswerDef>>

/** What a handler returns: a declared status, with a body of its schema or a stream. */
export type Reply<A extends Answers> = {
  [S in keyof A & number]: Readonly<{ status: S; headers?: Readonly<Record<string, string>> }> &
    (A[S] extends { schema: infer T extends z.ZodType }
      ? Readonly<{ body: z.output<T> }>
      : A[S] extends { stream: string }
        ? Readonly<{ stream: Readable }>
        : Readonly<{ body?: undefined }>)
}[keyof A & number]

/** Everything a door needs that is not of one request. */
export type HttpDeps = Readonly<{
  db: Db
  env: NodeJS.ProcessEnv
  log: Logger
  version: string
  /** Who watches, through this process. */
  live: Live
  /** Where browsers see this installation, e.g. `https://gleaner.example.org`; found from `host` when left out. */
  publicOrigin?: string
  /** How people sign in; routes that need it say so when it is left out. */
  signIn?: SignIn
}>

/** What the least role of a route says when there is no organisation: anybody who is signed in, or anybody at all. */
export type Access = Role | 'signed-in' | 'public'

type Out<T> = T extends z.ZodType ? z.output<T> : undefined

export type Context<P, Q, B, R extends Access, T extends TxMode> = Readonly<{
  params: Out<P>
  query: Out<Q>
  body: Out<B>
  deps: HttpDeps
  request: FastifyRequest
  signal: AbortSignal
}> &
  (R extends 'public' ? object : Readonly<{ principal: Principal; member: Member }>) &
  (R extends Role
    ? /** The role, as far as the key goes: for what is shown, never for what is allowed. */ Readonly<{
        orgId: string
        role: Role
      }>
    : object) &
  (T extends 'none'
    ? /** Runs `work` as the member, in a transaction of its own that only reads, seeing one moment. */
      Readonly<{
        asMember: <V>(work: (tx: Tx) => Promise<V>) => Promise<V>
        /** Throws AppError `auth.required` when the credentials of the request are those of `principal` no more. */
        checkIdentity: () => Promise<void>
      }>
    : Readonly<{
        /** The transaction of this request, as the member. The handler may run again after a deadlock: it has no other effect. */
        tx: Tx
        /** `tx` as a `Db`: what works with one and not with the engine's privileges. */
        db: Db
        /** A `Db` for functions of the engine: gated, then as service_role, a part of `tx` (db/acting.ts). */
        acting: (gate?: Partial<Gate>) => Db
        ifMatch: string | undefined
      }>)

/**
 * read: one moment of the database, nothing can be written. write: read committed, committed with the answer. none: the
 * handler has no transaction open, because it streams or waits.
 */
export type TxMode = 'read' | 'write' | 'none'

export type RouteDef<P, Q, B, A extends Answers, R extends Access, T extends TxMode> = Readonly<{
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  /** As OpenAPI writes it; what stands below `/orgs/{orgId}` belongs to that organisation. */
  path: string
  /** Unique, camel case: the name of the function in generated clients. */
  operationId: string
  tag: Tag
  summary: string
  description: string
  access: R
  /** Object schemas; `orgId` needs none. */
  params?: P
  query?: Q
  body?: B
  bodyExample?: unknown
  answers: A
  /** Refusals of this route beyond those every route of its kind has. */
  refuses?: readonly ErrorCode[]
  transaction: T
  /** What a member is told whose role is too low; left out: that it takes the role `access`. */
  tooLow?: (tx: Tx, orgId: string) => Promise<Error>
  /** Of a write: `kept` (the answer is kept for its Idempotency-Key, the default) or `secret` (only that it was done). */
  repeats?: 'kept' | 'secret'
  /** `if-match` has to be sent. */
  versioned?: boolean
  /** Bytes; 1 MB unless told. */
  bodyMost?: number
  /** Left out of the document: of no use to a client. */
  hidden?: boolean
}>

/** A route whose types have served their purpose. */
export type Route = RouteDef<unknown, unknown, unknown, Answers, Access, TxMode> &
  Readonly<{
    params?: z.ZodType
    query?: z.ZodType
    body?: z.ZodType
    handle: (
      context: never,
    ) => Promise<
      Readonly<{ status: number; headers?: Readonly<Record<string, string>>; body?: unknown; stream?: Readable }>
    >
  }>

/**
 * Declares a route: what it is, then what it does. Two steps, so that the second knows the types of the first. `mountRoutes`
 * (mount.ts) serves it.
 */
export function route<
  const A extends Answers,
  R extends Access,
  T extends TxMode,
  P extends z.ZodType | undefined = undefined,
  Q extends z.ZodType | undefined = undefined,
  B extends z.ZodType | undefined = undefined,
>(def: RouteDef<P, Q, B, A, R, T>): (handle: (context: Context<P, Q, B, R, T>) => Promise<Reply<A>>) => Route {
  return (handle) => ({ ...def, handle }) as unknown as Route
}

/** True for what belongs to one organisation. */
export function isOfOrg({ path }: Pick<Route, 'path'>): boolean {
  return path.startsWith('/api/v1/orgs/{orgId}')
}

/** True for a route that changes something. */
export function isWrite({ method }: Pick<Route, 'method'>): boolean {
  return method !== 'GET'
}
