/** Proofs go in rounds: each has a seed of its own that repeats it, so that a long proof fails with a short command. */

/** What a round did, e.g. `{ kills: 25, checks: 24 }`. `checks` counts complete checks of the invariants. */
export type Done = Readonly<Record<string, number>> & Readonly<{ checks: number }>

export type Round = (seed: number, say: (line: string) => void) => Promise<Done>

/** Runs a round; when it fails, the error says how to repeat exactly this one. */
export async function inRound(round: Round, seed: number, replay: string, say: (line: string) => void): Promise<Done> {
  try {
    return await round(seed, say)
  } catch (error) {
    throw new Error(`broken with seed ${seed}. Again: npm run prove -- ${replay} --seed ${seed}`, { cause: error })
  }
}

/** Both together, word by word. */
export function sum(one: Done, two: Done): Done {
  const all: Record<string, number> = { ...one }
  for (const [word, count] of Object.entries(two)) all[word] = (all[word] ?? 0) + count
  return all as Done
}

/** A seed of its own for every run of a suite; it is told when something fails. */
export function someSeed(): number {
  return Math.floor(Math.random() * 2 ** 31)
}
