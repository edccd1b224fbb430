import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['apps/**/test/**/*.test.ts'],
    globalSetup: ['apps/api/test/support/postgres.ts'],
    reporters: ['default', './scripts/vitest-summary-reporter.ts'],
    // A process per file: tests kill, fork and open files as the program does.
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 20_000,
    hookTimeout: 60_000,
    teardownTimeout: 20_000,
  },
})
