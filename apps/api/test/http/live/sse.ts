/** A reader of event streams over real HTTP: parses them as the HTML standard says, and remembers what came and when. */

export type Frame = Readonly<{
  /** `message` for facts, else the name. */
  event: string
  /** The last event id as it stood when this was dispatched. */
  id: string
  // oxlint-disable-next-line typescript/no-explicit-any -- tests look into it
  data: any
  /** performance.now() */
  at: number
}>

export type Reader = Readonly<{
  status: number
  headers: Headers
  frames: readonly Frame[]
  /** Numbers (run) or positions (organisation) of the facts that came, in order. */
  ids: () => string[]
  lastId: () => string
  /** What the server said one should wait before coming again, ms. */
  retryMs: () => number | null
  /** The first frame, now or later, that fits. */
  until: (fits: (frame: Frame) => boolean, withinMs?: number) => Promise<Frame>
  /** Resolves when the stream ends; false when the connection broke. */
  ended: Promise<boolean>
  /** The body of an answer that is no stream. */
  text: string
  close: () => void
}>

export type ReaderOptions = Readonly<{ token: string; lastEventId?: string }>

/** Connects. An answer that is no stream is read to its end. */
export async function readStream(url: string, options: ReaderOptions): Promise<Reader> {
  const abort = new AbortController()
  const response = await fetch(url, {
    signal: abort.signal,
    headers: {
      authorization: `Bearer ${options.token}`,
      accept: 'text/event-stream',
      ...(options.lastEventId === undefined ? {} : { 'last-event-id': options.lastEventId }),
    },
  })
  const isStream = response.headers.get('content-type')?.startsWith('text/event-stream') ?? false
  const frames: Frame[] = []
  const watchers = new Set<() => void>()
  const parser = makeParser((frame) => {
    frames.push(frame)
    for (const watcher of watchers) watcher()
  })
  const text = isStream ? '' : await response.text()
  const ended = isStream ? drain(response, parser.take) : Promise.resolve(true)
  const until: Reader['until'] = (fits, withinMs = 90_000) =>
    new Promise((resolve, reject) => {
      const look = (): void => {
        const found = frames.find(fits)
        if (!found) return
        clearTimeout(timer)
        watchers.delete(look)
        resolve(found)
      }
      const timer = setTimeout(() => {
        watchers.delete(look)
        reject(new Error(`in vain, after ${frames.length} frames: ${JSON.stringify(frames.slice(-3))}`))
      }, withinMs)
      watchers.add(look)
      look()
    })
  return {
    status: response.status,
    headers: response.headers,
    frames,
    ids: () => frames.filter(({ event }) => event === 'message').map(({ id }) => id),
    lastId: parser.lastId,
    retryMs: parser.retryMs,
    until,
    ended,
    text,
    close: () => abort.abort(),
  }
}

async function drain(response: Response, take: (text: string) => void): Promise<boolean> {
  const decoder = new TextDecoder()
  try {
    for await (const chunk of response.body ?? []) take(decoder.decode(chunk, { stream: true }))
    return true
  } catch {
    return false
  }
}

/** The parser of the HTML standard (9.2.6), for streams whose lines end with LF. */
export function makeParser(dispatch: (frame: Frame) => void) {
  let rest = ''
  let event = ''
  let data: string[] = []
  let id = ''
  let retry: number | null = null
  const line = (text: string): void => {
    if (text === '') {
      if (data.length > 0)
        dispatch({ event: event || 'message', id, data: JSON.parse(data.join('\n')), at: performance.now() })
      event = ''
      data = []
      return
    }
    if (text.startsWith(':')) return
    const colon = text.indexOf(':')
    const field = colon < 0 ? text : text.slice(0, colon)
    const value = colon < 0 ? '' : text.slice(colon + 1).replace(/^ /, '')
    if (field === 'event') event = value
    else if (field === 'data') data.push(value)
    else if (field === 'id') id = value
    else if (field === 'retry') retry = Number(value)
  }
  return {
    take: (text: string): void => {
      const lines = (rest + text).split('\n')
      rest = lines.pop() ?? ''
      for (const one of lines) line(one)
    },
    lastId: () => id,
    retryMs: () => retry,
  }
}
