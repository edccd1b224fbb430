/** Viewers in a process of their own: connects, takes what comes, and tells when asked what arrived when. */
import { readStream } from '../../apps/api/test/http/live/sse.ts'

/** One viewer for each token: who they are. */
export type Order = Readonly<{ url: string; tokens: readonly string[] }>
export type Seen = Readonly<{
  /** Event number and when it arrived (ms since 1970), for every viewer. */
  arrivals: readonly (readonly [seq: number, at: number])[]
  /** Numbers that were missing, came twice or out of order. */
  wrong: number
  figuresPerSecond: number
}>

process.once('message', (order: Order) => {
  void watch(order).catch((error: unknown) => {
    console.error(error)
    process.exit(1)
  })
})
process.once('disconnect', () => process.exit(1))

async function watch({ url, tokens }: Order): Promise<void> {
  const readers = await Promise.all(tokens.map((token) => readStream(url, { token })))
  await Promise.all(readers.map((reader) => reader.until(({ event }) => event === 'open')))
  process.send?.('watching')
  await new Promise((resolve) => process.once('message', resolve))
  const arrivals: [number, number][] = []
  let wrong = 0
  let figures = 0
  for (const { frames } of readers) {
    let before: number | null = null
    for (const { event, data, at } of frames) {
      if (event === 'figures') figures++
      if (event !== 'message') continue
      if (before !== null && data.seq !== before + 1) wrong++
      before = data.seq
      arrivals.push([data.seq, performance.timeOrigin + at])
    }
  }
  const seconds = ((readers[0]?.frames.at(-1)?.at ?? 0) - (readers[0]?.frames[0]?.at ?? 0)) / 1000
  const seen: Seen = { arrivals, wrong, figuresPerSecond: figures / tokens.length / seconds }
  process.removeAllListeners('disconnect')
  process.send?.(seen, () => process.exit(0))
}
