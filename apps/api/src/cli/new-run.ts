/** From what is to be collected to a run that has been started. */
import type { Micros } from '../base/money.ts'
import { type CreateInput, createRun } from '../engine/create.ts'
import { startRun } from '../engine/start.ts'
import type { RunSnapshot } from '../runs/snapshot.ts'
import type { Session } from './context.ts'

export type NewRun = Readonly<{
  collect: CreateInput['collect']
  accounts: CreateInput['accounts']
  name?: string
  capMicros?: Micros
  filters?: NonNullable<CreateInput['filters']>
  upToCap?: boolean
  /** Search ten products first and pause then. */
  sample?: boolean
}>

/** Creates the run and asks for its start. It is running when this returns, or waits in line for a place. */
export async function createAndStart(session: Session, wanted: NewRun): Promise<RunSnapshot> {
  const { db, actor } = session
  const { run } = await createRun(db, { actor, ...wanted })
  return startRun(db, run.id, actor.userId)
}
