/** The list of guards is true: each is where it says, its test exists, and docs/guards.md tells of it. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { guardsDocument } from '../../../scripts/guards/document.ts'
import { GUARDS } from '../../../scripts/guards/list.ts'
import { find } from '../../../scripts/guards/removal.ts'
import { ROOT_DIR } from '../src/base/config.ts'

it.each(GUARDS.map((guard) => [guard.id, guard] as const))('%s is where the list says', (_, guard) => {
  find(ROOT_DIR, guard)
  const [file, name] = guard.falls
  const words = readFileSync(join(ROOT_DIR, file), 'utf8')
  expect(words).toContain(name)
})

it('every guard has a name of its own', () => {
  expect(new Set(GUARDS.map(({ id }) => id)).size).toBe(GUARDS.length)
})

it('docs/guards.md is made from the list (else: npm run prove -- guards --write)', () => {
  expect(readFileSync(join(ROOT_DIR, 'docs', 'guards.md'), 'utf8')).toBe(guardsDocument())
})
