/** Runs that tell events, people who may see them or not, and a server they connect to. */
import { newId } from '../../../src/base/ids.ts'
import { withTx } from '../../../src/db/client.ts'
import { appendEvents, type NewEvent } from '../../../src/events/append.ts'
import type { RunSnapshot } from '../../../src/runs/snapshot.ts'
import { type Arena, makeArena, type RunInput } from '../../engine/arena.ts'
import { type ServerProcess, startServer } from './server-process.ts'

export type Stage = Readonly<{
  arena: Arena
  orgId: string
  /** The owner of the organisation. */
  owner: string
  makeRun: (input?: RunInput) => Promise<RunSnapshot>
  /** Somebody new, in this organisation. */
  makeMember: (orgId?: string, role?: string) => Promise<string>
  /** Another organisation. */
  makeOrg: () => Promise<string>
  /** Appends so many events to the run, one transaction each. */
  tell: (runId: string, count: number) => Promise<void>
  /** Appends so many events of `bytes` each, 100 in a transaction. */
  fill: (runId: string, count: number, bytes: number) => Promise<void>
  seqOf: (runId: string) => Promise<number>
  start: () => Promise<ServerProcess>
  close: () => Promise<void>
}>

export async function makeStage(): Promise<Stage> {
  const arena = await makeArena()
  const owned = arena.fresh.db
  const servers: ServerProcess[] = []
  return {
    arena,
    orgId: arena.actor.orgId,
    owner: arena.actor.userId,
    makeRun: (input = {}) => arena.makeRun({ products: 1, ...input }),
    makeMember: async (orgId = arena.actor.orgId, role = 'viewer') => {
      const id = newId()
      await owned.query('insert into auth.users (id) values ($1)', [id])
      await owned.query('insert into org_members (org_id, user_id, role) values ($1, $2, $3)', [orgId, id, role])
      return id
    },
    makeOrg: async () => {
      const id = newId()
      await owned.query('insert into orgs (id, name) values ($1, $2)', [id, `Org ${id}`])
      return id
    },
    tell: async (runId, count) => {
      for (let told = 0; told < count; told++) {
        const data = { spent_micros: told }
        await withTx(arena.db, (tx) => appendEvents(tx, runId, [{ type: 'calls.booked', data }]))
      }
    },
    fill: async (runId, count, bytes) => {
      const events: NewEvent[] = Array(100).fill({ type: 'calls.booked', data: { filler: 'x'.repeat(bytes) } })
      for (let told = 0; told < count; told += 100) await withTx(arena.db, (tx) => appendEvents(tx, runId, events))
    },
    seqOf: async (runId) => (await arena.look(runId)).eventSeq,
    start: async () => {
      const server = await startServer(arena.fresh.url)
      servers.push(server)
      return server
    },
    close: async () => {
      await Promise.all(servers.map((server) => server.kill()))
      await arena.close()
    },
  }
}

/** '1', '2', … as the ids of a run's events are. */
export function numbers(from: number, to: number, prefix = ''): string[] {
  return Array.from({ length: Math.max(0, to - from + 1) }, (_, index) => `${prefix}${from + index}`)
}
