/** One sandbox per data directory: a lock file naming the process, taken over when that process is gone. */
import { linkSync, readFileSync, renameSync, unlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

export class DirectoryInUse extends Error {
  constructor(directory: string, pid: number) {
    super(
      `the data directory ${directory} is in use by another sandbox (process ${pid}); stop it or pass another --data`,
    )
    this.name = 'DirectoryInUse'
  }
}

/** A process that was just killed may take a moment to be gone. */
const GRACE_MS = 500
const STEP_MS = 20

/** Returns the release function. Throws DirectoryInUse while another living process holds the directory. */
export function lockDirectory(directory: string): () => void {
  const file = join(directory, 'sandbox.lock')
  const mine = `${process.pid} ${startOf(process.pid)} ${Math.random().toString(36).slice(2)}`
  const deadline = Date.now() + GRACE_MS
  for (;;) {
    if (create(file, mine)) return () => release(file, mine)
    const held = read(file)
    const [pid = '', start = ''] = (held ?? '').split(' ')
    if (held !== null && !isSameProcess(Number(pid), start)) removeStale(file, held)
    else if (Date.now() > deadline) throw new DirectoryInUse(directory, Number(pid))
    else pause(STEP_MS)
  }
}

function pause(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)
}

/** Appears with its content or not at all. */
function create(file: string, text: string): boolean {
  const draft = `${file}.${process.pid}`
  writeFileSync(draft, text)
  try {
    linkSync(draft, file)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  } finally {
    unlinkSync(draft)
  }
}

/** Moves the file away first: if a third process renewed it meanwhile, what was moved is not what was read. */
function removeStale(file: string, held: string): void {
  const aside = `${file}.${process.pid}.stale`
  try {
    renameSync(file, aside)
  } catch {
    return
  }
  if (read(aside) === held) unlinkSync(aside)
  else renameSync(aside, file)
}

function release(file: string, mine: string): void {
  if (read(file) === mine) unlinkSync(file)
}

function read(file: string): string | null {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return null
  }
}

/** A number may have been given to another process since: on Linux the start time tells. */
function isSameProcess(pid: number, start: string): boolean {
  if (!Number.isInteger(pid) || pid <= 0) return false
  try {
    process.kill(pid, 0)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
  const now = startOf(pid)
  return now === 'unknown' || (now !== 'dead' && (start === 'unknown' || now === start))
}

/** Ticks since boot on Linux; `dead` for a process that has ended and waits to be collected by its parent. */
function startOf(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return fields[0] === 'Z' || fields[0] === 'X' ? 'dead' : (fields[19] ?? 'unknown')
  } catch {
    return 'unknown'
  }
}
