/** Taking a guard away in a copy of the repository, and putting it back. */
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Guard, Removal } from './list.ts'

const MIGRATIONS = 'apps/api/migrations'

const migrations = (root: string): string[] =>
  readdirSync(join(root, MIGRATIONS))
    .filter((name) => name.endsWith('.sql'))
    .sort()

/** Takes the guard away under `root`; returns how to put it back. Throws when it is not where the list says. */
export function takeAway(root: string, { id, without }: Guard): () => void {
  if ('sql' in without) return laterMigration(root, without.sql)
  const { path, from } = place(root, without)
  const before = readFileSync(join(root, path), 'utf8')
  const at = before.indexOf(without.find, from)
  if (at < 0) throw new Error(`${id}: its text is not in ${path}`)
  const whole = 'file' in without
  if (whole && before.indexOf(without.find, at + 1) >= 0)
    throw new Error(`${id}: its text is in ${path} more than once`)
  const after = before.slice(0, at) + without.put + before.slice(at + without.find.length)
  writeFileSync(join(root, path), after)
  return () => writeFileSync(join(root, path), before)
}

/** Fails unless the guard is where the list says. Changes nothing. */
export function find(root: string, { id, without }: Guard): void {
  if ('sql' in without) return
  const { path, from } = place(root, without)
  const text = readFileSync(join(root, path), 'utf8')
  const found = 'file' in without ? text.split(without.find).length - 1 : Number(text.indexOf(without.find, from) >= 0)
  if (found !== 1) throw new Error(`${id}: its text is in ${path} ${found} times`)
}

/** The file, and where in it to look: a function is the one of the last migration that defines it. */
function place(root: string, without: Exclude<Removal, { sql: string }>): { path: string; from: number } {
  if ('file' in without) return { path: without.file, from: 0 }
  for (const name of migrations(root).reverse()) {
    const path = join(MIGRATIONS, name)
    const from = readFileSync(join(root, path), 'utf8').lastIndexOf(`FUNCTION ${without.inFunction}() RETURNS`)
    if (from >= 0) return { path, from }
  }
  throw new Error(`no migration defines ${without.inFunction}`)
}

function laterMigration(root: string, sql: string): () => void {
  const last = Number(migrations(root).at(-1)?.slice(0, 3))
  const path = join(root, MIGRATIONS, `${String(last + 1).padStart(3, '0')}_without_a_guard.sql`)
  writeFileSync(path, `${sql};\n`)
  return () => rmSync(path)
}
