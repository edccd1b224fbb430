/** What every act of the model is made of. */
import fc from 'fast-check'
import { expect } from 'vitest'
import { type Call, type Model, newCategory, newItem, newRun, type Run } from './model-types.ts'
import { compare, type World } from './model-world.ts'

export type Act = fc.AsyncCommand<Model, World>

/** How often each act was carried out, by its first word. */
export const acted = new Map<string, number>()

/** One act. Afterwards the engine and the model must agree, and everything must hold. */
export function act(
  name: string,
  can: (model: Model) => boolean,
  carryOut: (model: Model, world: World) => Promise<void>,
): Act {
  return {
    toString: () => name,
    check: can,
    run: async (model, world) => {
      await carryOut(model, world)
      await compare(model, world)
      const first = name.split(/[ :]/)[0] ?? ''
      acted.set(first, (acted.get(first) ?? 0) + 1)
    },
  }
}

/** An act on one run, chosen by number. */
export const onRun = (
  name: string,
  can: (model: Model, index: number) => boolean,
  carryOut: (run: Run, model: Model, world: World) => Promise<void>,
): fc.Arbitrary<Act> =>
  at.map((index) =>
    act(
      `${name} ${index}`,
      (model) => anyRun(model) && can(model, index),
      (model, world) => carryOut(pick(model.runs, index), model, world),
    ),
  )

/** The same, chosen among those that are meant. */
export const onRunThat = (
  wanted: (run: Run, model: Model) => boolean,
  name: string,
  carryOut: (run: Run, model: Model, world: World) => Promise<void>,
): fc.Arbitrary<Act> =>
  at.map((index) =>
    act(
      `${name} ${index}`,
      (model) => model.runs.some((run) => wanted(run, model)),
      (model, world) =>
        carryOut(
          pick(
            model.runs.filter((run) => wanted(run, model)),
            index,
          ),
          model,
          world,
        ),
    ),
  )

export const pick = <T>(list: readonly T[], at: number): T => list[at % list.length] as T
export const at = fc.nat({ max: 50 })
export const anyRun = (model: Model): boolean => model.runs.length > 0
export const always = (): boolean => true
/** Seldom, or there would soon be nothing left to act on. */
export const seldom = (model: Model, index: number): boolean => index % 4 === 0 && model.runs.length > 1

export const some =
  (wanted: (call: Call) => boolean) =>
  (model: Model): boolean =>
    model.runs.some((run) => run.calls.some(wanted))
export const runWith = (model: Model, wanted: (call: Call) => boolean, index: number): Run =>
  pick(
    model.runs.filter((run) => run.calls.some(wanted)),
    index,
  )

/** The engine does it, or refuses, exactly as the model says. */
export async function refusedUnless(allowed: boolean, deed: Promise<unknown>): Promise<void> {
  if (allowed) await deed
  else await expect(deed).rejects.toMatchObject({ code: expect.stringMatching(/^(run\.|GL)/) })
}

/** The same, and the refusal is the one the model names; null = none. */
export async function refusedWith(code: string | null, deed: Promise<unknown>): Promise<void> {
  if (code === null) await deed
  else await expect(deed).rejects.toMatchObject({ code })
}

type NewRun = Readonly<{
  org: number
  products: number
  categories: number
  rungs: number
  cap: number
  /** So many products are searched first; of a run of products only. */
  sample?: number | null
}>

/** A run of products, or of categories when there are any. */
export async function createRun(model: Model, { arena, orgs }: World, input: NewRun): Promise<Run> {
  const { products, categories, rungs, cap, org } = input
  const keys = Array.from({ length: categories }, (_, index) => `c${index}`)
  const sample = categories > 0 ? null : (input.sample ?? null)
  const { id } = await arena.makeRun({
    ...(categories > 0 ? { categories: keys } : { products, rungs }),
    ...(sample === null ? {} : { sample }),
    cap,
    orgId: orgs[org]?.id ?? '',
    start: false,
  })
  const items = Array.from({ length: categories > 0 ? 0 : products }, (_, index) => newItem(index))
  const run = newRun({ id, org, cap, items, categories: keys.map((key) => newCategory(key)), sample })
  model.runs.push(run)
  return run
}
