import { describe, expect, it } from 'vitest'
import { ROOT_DIR, readConfig } from '../../src/base/config.ts'
import { AppError } from '../../src/base/errors.ts'

describe('readConfig', () => {
  it('uses the embedded database in the checkout when nothing is set', () => {
    expect(readConfig({})).toEqual({
      databaseUrl: null,
      dataDir: `${ROOT_DIR}/.gleaner/pg18`,
      logLevel: 'info',
      key: null,
      ebayDeletion: null,
    })
  })

  it('takes an empty variable for one that is not set', () => {
    expect(readConfig({ DATABASE_URL: '', GLEANER_LOG_LEVEL: '', GLEANER_DATA_DIR: '' })).toEqual(readConfig({}))
  })

  it('reads what is set, paths relative to the working directory', () => {
    const env = { DATABASE_URL: 'postgres://u:p@h/d', GLEANER_DATA_DIR: 'data', GLEANER_LOG_LEVEL: 'debug' }
    expect(readConfig({ ...env, GLEANER_KEY: 'a key' }, '/srv')).toEqual({
      databaseUrl: 'postgres://u:p@h/d',
      dataDir: '/srv/data',
      logLevel: 'debug',
      key: 'a key',
      ebayDeletion: null,
    })
  })

  it('names every wrong variable and never shows its value', () => {
    const env = { DATABASE_URL: 'mysql://root:s3cret@h/d', GLEANER_LOG_LEVEL: 'loud' }
    const error = thrownBy(() => readConfig(env))
    expect(error).toMatchObject({
      code: 'db.url_invalid',
      details: { variables: ['DATABASE_URL', 'GLEANER_LOG_LEVEL'] },
    })
    expect(JSON.stringify([error.message, error.hint, error.details])).not.toMatch(/s3cret/)
  })
})

function thrownBy(work: () => unknown): AppError {
  try {
    work()
  } catch (error) {
    if (error instanceof AppError) return error
  }
  throw new Error('nothing was refused')
}
