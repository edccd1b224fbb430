/** Writing to one reader at its own pace. */
import type { Writable } from 'node:stream'

export type Sink = Readonly<{
  /**
   * Writes; resolves when more may be written. False when the reader is gone, or has taken nothing for `stallMs`: its
   * connection is then closed.
   */
  send: (text: string) => Promise<boolean>
  /** Writes a last time, without waiting, and closes. */
  end: (text: string) => void
}>

/**
 * A sink over `stream`. What waits in this process for a reader that does not read is one `send` beyond the buffers of the
 * stream, and no more: the next is written after it was taken.
 */
export function makeSink(stream: Writable, stallMs: number): Sink {
  let isWaiting = false
  const isOver = (): boolean => stream.destroyed || stream.writableEnded
  return {
    send: async (text) => {
      if (isOver()) return false
      if (stream.write(text)) return true
      isWaiting = true
      const isTaken = await taken(stream, stallMs)
      isWaiting = false
      if (!isTaken) stream.destroy()
      return isTaken && !isOver()
    },
    end: (text) => {
      if (isOver()) return
      // Who does not read would not read this either.
      if (isWaiting) stream.destroy()
      else stream.end(text)
    },
  }
}

/** True once the stream takes more, false when it closes or `ms` go by. */
function taken(stream: Writable, ms: number): Promise<boolean> {
  return new Promise((resolve) => {
    const done = (isTaken: boolean): void => {
      clearTimeout(timer)
      stream.off('drain', onDrain)
      stream.off('close', onClose)
      resolve(isTaken)
    }
    const onDrain = (): void => done(true)
    const onClose = (): void => done(false)
    const timer = setTimeout(onClose, ms)
    stream.once('drain', onDrain)
    stream.once('close', onClose)
  })
}
