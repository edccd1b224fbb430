/** Ends the test output with one line that people and machines read alike: `N passed, N failed`. */
import type { Reporter, SerializedError, TestModule, TestSuite } from 'vitest/node'

type Counts = { passed: number; failed: number; skipped: number }

/**
 * The line for a finished run. A file or suite that fails outside its tests (an import, a hook) and an error nobody
 * caught each count as one failure: a run that exits with an error never says `0 failed`.
 */
export function summaryLine(modules: readonly TestModule[], unhandled: readonly SerializedError[]): string {
  const counts: Counts = { passed: 0, failed: unhandled.length, skipped: 0 }
  for (const module of modules) {
    counts.failed += module.errors().length
    for (const test of module.children.allTests()) {
      const { state } = test.result()
      if (state !== 'pending') counts[state] += 1
    }
    for (const suite of module.children.allSuites()) counts.failed += (suite as TestSuite).errors().length
  }
  const { passed, failed, skipped } = counts
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`
}

let line: string | undefined

/** For Vitest's `reporters`, after `default`. Prints when the process ends, so that nothing can follow. */
const reporter: Reporter = {
  onInit: () => {
    process.once('exit', () => {
      if (line !== undefined) process.stdout.write(`${line}\n`)
    })
  },
  onTestRunEnd: (modules, unhandled) => {
    line = summaryLine(modules, unhandled)
  },
}

// Vitest makes an instance of the default export of a reporter's file.
export default function SummaryReporter(): Reporter {
  return reporter
}
