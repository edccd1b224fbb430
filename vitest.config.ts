import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['apps/**/test/**/*.test.ts'],
    globalSetup: ['apps/api/test/support/postgres.ts'],
    reporters: ['default', './scripts/vitest-summary-reporter.ts'],
    // A process per file: tests kill, fork and open files as the program does.
    pool: 'forks',
    maxWorkers: 2,
    // Tests wait for signals, and what ends too early says so at once. These bounds are for what hangs, on the busiest machine.
    testTimeout: 90_000,
    hookTimeout: 120_000,
    teardownTimeout: 60_000,
  },
})
