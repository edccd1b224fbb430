/** `npm run prove -- guards`: takes every guard away, one at a time, in a copy of the repository, and runs its test. */
import { execFileSync, spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { ROOT_DIR } from '../../apps/api/src/base/config.ts'
import { guardsDocument } from './document.ts'
import { GUARDS, type Guard } from './list.ts'
import { takeAway } from './removal.ts'

type Verdict = Readonly<{ guard: Guard; held: boolean; told: string }>

/** Proves the guards with these ids, or all; `green`: looks first whether their tests pass. Returns how many have no test that falls. */
export function proveGuards(ids: readonly string[], { write, green }: { write?: boolean; green: boolean }): number {
  if (write) {
    writeFileSync(join(ROOT_DIR, 'docs', 'guards.md'), guardsDocument())
    return 0
  }
  const unknown = ids.filter((id) => !GUARDS.some((guard) => guard.id === id))
  if (unknown.length > 0) throw new Error(`no such guard: ${unknown.join(', ')}`)
  const guards = GUARDS.filter(({ id }) => ids.length === 0 || ids.includes(id))
  const started = performance.now()
  const root = copyRepository()
  try {
    if (green) checkGreen(root, guards)
    const verdicts = guards.map((guard, index) => {
      const verdict = tryWithout(root, guard)
      console.log(
        `${index + 1}/${guards.length} ${verdict.held ? 'falls' : 'STANDS'}  ${guard.id.padEnd(28)} ${verdict.told}`,
      )
      return verdict
    })
    const gaps = verdicts.filter(({ held }) => !held)
    const seconds = ((performance.now() - started) / 1_000).toFixed(0)
    console.log(`guards: ${guards.length} taken away, ${gaps.length} without a test that falls; ${seconds} s`)
    for (const { guard } of gaps) console.log(`  again: npm run prove -- guards ${guard.id}`)
    return gaps.length
  } finally {
    rmSync(root, { recursive: true, force: true })
  }
}

/** What git knows of, and what it would: the working tree itself is never touched. */
function copyRepository(): string {
  const root = mkdtempSync('/tmp/gleaner-guards-')
  const files = execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], { cwd: ROOT_DIR })
  for (const file of new Set(files.toString().split('\0'))) {
    if (file === '' || file === 'node_modules') continue
    mkdirSync(dirname(join(root, file)), { recursive: true })
    cpSync(join(ROOT_DIR, file), join(root, file))
  }
  symlinkSync(join(ROOT_DIR, 'node_modules'), join(root, 'node_modules'))
  return root
}

/** A test that fails anyway proves nothing. */
function checkGreen(root: string, guards: readonly Guard[]): void {
  const files = [...new Set(guards.map(({ falls: [file] }) => file))]
  for (const file of files) {
    const { failed, passed, told } = runTests(root, [file], '')
    if (failed > 0 || passed === 0) throw new Error(`with all guards in place ${file} fails: ${told}`)
    console.log(`with all guards in place: ${passed} tests pass in ${file}`)
  }
}

function tryWithout(root: string, guard: Guard): Verdict {
  const putBack = takeAway(root, guard)
  try {
    const [file, name] = guard.falls
    const { failed, told } = runTests(root, [file], name)
    return { guard, held: failed > 0, told }
  } finally {
    putBack()
  }
}

type Report = Readonly<{
  numFailedTests: number
  numPassedTests: number
  testResults: readonly Readonly<{
    message: string
    assertionResults: readonly Readonly<{ status: string; fullName: string }>[]
  }>[]
}>

/** Runs tests; counts those that failed themselves, not those that could not even begin. */
function runTests(root: string, files: readonly string[], name: string) {
  const out = join(root, 'report.json')
  rmSync(out, { force: true })
  const vitest = join(root, 'node_modules', 'vitest', 'vitest.mjs')
  const pattern = name.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`)
  const args = [
    'run',
    ...files,
    '--testTimeout=60000',
    '--reporter=json',
    `--outputFile=${out}`,
    ...(name ? ['-t', pattern] : []),
  ]
  const { stdout, stderr } = spawnSync(process.execPath, [vitest, ...args], {
    cwd: root,
    // The first counterexample will do: making it small would take longer than finding it.
    env: { ...process.env, GLEANER_TEST_POSTGRES_DIR: '', GLEANER_MODEL_SHRINKS: '0' },
    timeout: 900_000,
  })
  let report: Report
  try {
    report = JSON.parse(readFileSync(out, 'utf8')) as Report
  } catch {
    throw new Error(`the tests did not run: ${stdout}${stderr}`)
  }
  const all = report.testResults.flatMap((file) => file.assertionResults)
  const first = all.find(({ status }) => status === 'failed')
  const broken = report.testResults.map(({ message }) => message).find((message) => message !== '')
  return {
    failed: report.numFailedTests,
    passed: report.numPassedTests,
    told: first
      ? `${report.numFailedTests} failed, first: ${first.fullName.trim()}`
      : (broken ?? `${report.numPassedTests} passed`),
  }
}
