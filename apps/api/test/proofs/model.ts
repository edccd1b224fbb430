/** Random acts against the engine and the database, compared after every step with a plain model of what is promised. */
import fc from 'fast-check'
import { startRun } from '../../src/engine/start.ts'
import { expectClean, PRICE } from '../engine/arena.ts'
import { acted, createRun } from '../engine/model-act.ts'
import { drawn } from '../engine/model-acts.ts'
import type { Model } from '../engine/model-types.ts'
import { endWorld, type Ground, makeGround, makeWorld, newModel, sweep, type World } from '../engine/model-world.ts'
import type { Done } from './round.ts'

/** Sequences in one round, on one database. */
export const SEQUENCES_A_ROUND = 100
/** Acts of a sequence at most; about half as many on average, of which some are not possible. */
const STEPS_MOST = 100
/**
 * Sequences after which `verify` itself looks once more, through its own door, and the tables are emptied: what earlier
 * sequences left would be read by every check.
 */
const SWEEP_EVERY = 10

/** So many sequences of random acts. After every act the model and the database agree, and I1 to I10 hold. */
export async function modelRound(seed: number, sequences: number): Promise<Done> {
  const ground = await makeGround()
  const before = steps()
  let worlds = 0
  try {
    await fc.assert(
      fc.asyncProperty(fc.commands(drawn, { maxCommands: STEPS_MOST, size: 'max' }), async (commands) => {
        const { model, world } = await begin(ground)
        await fc.asyncModelRun(() => ({ model, real: world }), commands)
        const seldom = ++worlds % SWEEP_EVERY === 0
        if (seldom) await expectClean(ground.arena.db, { runIds: model.runs.map(({ id }) => id) })
        await endWorld(world)
        if (seldom) await sweep(ground)
      }),
      { numRuns: sequences, seed, endOnFailure: process.env['GLEANER_MODEL_SHRINKS'] === '0' },
    )
    const acts = steps() - before
    return { 'model runs': sequences, acts, checks: acts }
  } finally {
    await ground.close()
  }
}

const steps = (): number => [...acted.values()].reduce((sum, count) => sum + count, 0)

/** Runs that run, or most acts would find nothing to act on. */
async function begin(ground: Ground): Promise<{ model: Model; world: World }> {
  const world = await makeWorld(ground)
  const model = newModel()
  const first = { products: 8, rungs: 3, categories: 0, cap: 40 * PRICE, org: 0 }
  await createRun(model, world, first)
  await createRun(model, world, { ...first, products: 6, rungs: 1, cap: 9 * PRICE + 1, sample: 2 })
  await createRun(model, world, { ...first, categories: 3, cap: 60 * PRICE, org: 1 })
  for (const run of model.runs) {
    await startRun(world.arena.db, run.id)
    Object.assign(run, { status: 'running', asked: model.asks++ })
  }
  return { model, world }
}
