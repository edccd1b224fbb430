import { get } from 'node:http'
import { expect, it } from 'vitest'
import { categoriesFile, ended, sandboxProcess, temporaryDirectory } from './support.ts'

/** Holds a guest's request open; returns how to leave. */
function guest(url: string): Promise<() => void> {
  return new Promise((resolve, reject) => {
    const request = get(`${url}/sandbox/guest`, { agent: false }, (response) => {
      response.resume()
      resolve(() => request.destroy())
    })
    request.once('error', reject)
  })
}

it('ends with its last guest, and not before, when asked to', async () => {
  const data = temporaryDirectory()
  const { url, child } = await sandboxProcess([
    '--data',
    data,
    '--categories',
    categoriesFile(data),
    '--end-when-unused',
  ])
  const [leaveFirst, leaveSecond] = [await guest(url), await guest(url)]
  leaveFirst()
  expect((await fetch(`${url}/sandbox/health`)).status).toBe(200)
  expect(child.exitCode).toBeNull()
  leaveSecond()
  expect(await ended(child)).toBe(0)
})
