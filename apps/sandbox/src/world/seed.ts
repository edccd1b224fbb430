/** The seed belongs to the data directory: a restart must give the same world. */
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'

/** The directory's seed. Throws an Error when `wanted` is given and the directory was made with another one. */
export function fixSeed(file: string, wanted: number | undefined): number {
  if (existsSync(file)) {
    const { seed } = JSON.parse(readFileSync(file, 'utf8')) as { seed: number }
    if (wanted !== undefined && wanted !== seed) {
      throw new Error(`the data directory was made with --seed ${seed}; pass that seed, none, or another --data`)
    }
    return seed
  }
  const seed = wanted ?? 1
  writeFileSync(`${file}.new`, `${JSON.stringify({ seed })}\n`)
  renameSync(`${file}.new`, file)
  return seed
}
