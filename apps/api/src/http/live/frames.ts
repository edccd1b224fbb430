/** Frames of an event stream (HTML standard, server-sent events). JSON has no line breaks, so each datum is one line. */

/** A fact: the one kind of frame that has an id, and so the one a reader goes on after. */
export function factFrame(id: string, json: string): string {
  return `id: ${id}\ndata: ${json}\n\n`
}

/** Something named, without a place of its own in the order. */
export function namedFrame(name: string, json: string): string {
  return `event: ${name}\ndata: ${json}\n\n`
}

/** The first frame: how long to wait before coming again, and from where, also when nothing happens until then. */
export function openFrame(id: string, retryMs: number, json: string): string {
  return `retry: ${retryMs}\nid: ${id}\nevent: open\ndata: ${json}\n\n`
}

/** A sign of life: a comment for proxies, an event for pages, which do not see comments. */
export function beatFrame(at: string): string {
  return `: beat\nevent: beat\ndata: {"at":"${at}"}\n\n`
}

/** The last frame of a stream that may be opened again. */
export function laterFrame(retryMs: number, json: string): string {
  return `retry: ${retryMs}\nevent: later\ndata: ${json}\n\n`
}
