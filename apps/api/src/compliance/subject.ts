/** Who is to be forgotten: by every name and id the person is known under, and by their rows. */
import type { Secrets } from '../base/seal.ts'

export type Subject = Readonly<{
  /** Keys as in sellers.normalized_name. */
  names: readonly string[]
  /** Unchanging ids at eBay, never lower-cased. */
  ids: readonly string[]
  /** sellers(id) of the rows found so far. */
  sellers: readonly string[]
}>

/** What a name is hashed as. */
export const nameMark = (name: string): string => `name:${name}`
/** What an id at eBay is hashed as. */
export const idMark = (id: string): string => `id:${id}`

/** The hashes by which the subject is known again. */
export function marksOf({ names, ids }: Subject, secrets: Secrets): Buffer[] {
  return [...names.map(nameMark), ...ids.map(idMark)].map(secrets.hash)
}

/** Both together, each name, id and row once. */
export function joinSubjects(one: Subject, other: Subject): Subject {
  const join = (of: (subject: Subject) => readonly string[]): string[] => [...new Set([...of(one), ...of(other)])]
  return { names: join((s) => s.names), ids: join((s) => s.ids), sellers: join((s) => s.sellers) }
}

/** What binds the sealed subject to its erasure. */
export const aboutErasure = (erasureId: string): string => `compliance_erasures:${erasureId}`

/** The subject of a text `JSON.stringify` made of one. Throws for anything else. */
export function readSubject(text: string): Subject {
  const value = JSON.parse(text) as Partial<Record<keyof Subject, unknown>>
  const list = (part: unknown): string[] => {
    if (Array.isArray(part) && part.every((one) => typeof one === 'string')) return part as string[]
    throw new Error('what was sealed is no subject of an erasure')
  }
  return { names: list(value.names), ids: list(value.ids), sellers: list(value.sellers) }
}
