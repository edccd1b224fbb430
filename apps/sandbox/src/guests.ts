/**
 * Who uses the sandbox: every guest holds one answer open, and its connection ends with its process, however that ends.
 * A sandbox that was started for guests can so end with the last of them.
 */
import type { ServerResponse } from 'node:http'

export type Guests = Readonly<{
  /** Answers with a body that does not end. The guest stays until its connection is closed. */
  welcome: (response: ServerResponse) => void
}>

/** How long a sandbox waits for its first guest. */
const FIRST_WITHIN_MS = 10_000

/** `onUnused` is called once: when the last guest has left, or when none came within ten seconds. */
export function createGuests(onUnused: () => void): Guests {
  let present = 0
  const first = setTimeout(onUnused, FIRST_WITHIN_MS)
  first.unref()
  return {
    welcome: (response) => {
      clearTimeout(first)
      present += 1
      response.once('close', () => {
        present -= 1
        if (present === 0) onUnused()
      })
      response.writeHead(200, { 'content-type': 'text/plain', 'cache-control': 'no-store' })
      response.write('welcome\n')
    },
  }
}
