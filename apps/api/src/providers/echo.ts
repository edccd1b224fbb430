/**
 * Providers tell with their answer what it is the answer to. An answer that tells of another search is not taken for one:
 * its sellers would be written down for a product they were never seen with.
 */
import { failure } from './failures.ts'
import type { Charge, Failure, SearchQuery } from './types.ts'

/**
 * True when the address a provider says it answered for asks for something else than `query`: its parameter `name` (for
 * text, or for a GTIN where that has one of its own) is there and has not one word in common. Providers write a query in
 * their own way, so one word is enough; an answer that tells nothing is believed.
 */
export function isForAnother(
  query: SearchQuery,
  address: string | null | undefined,
  names: Readonly<{ text: string; gtin: string }>,
): boolean {
  const asked = query.kind === 'gtin' ? query.gtin : query.text
  const told = parameter(address, query.kind === 'gtin' ? names.gtin : names.text)
  if (told === null) return false
  const words = wordsOf(told)
  return words.size > 0 && ![...wordsOf(asked)].some((word) => words.has(word))
}

function parameter(address: string | null | undefined, name: string): string | null {
  if (!address || !URL.canParse(address)) return null
  return new URL(address).searchParams.get(name)
}

function wordsOf(text: string): Set<string> {
  return new Set(
    text
      .toLowerCase()
      .normalize('NFKC')
      .match(/[\p{L}\p{N}]+/gu) ?? [],
  )
}

/** What is said of such an answer: it was charged, it is the provider's fault, and the search is made again. */
export function answerOfAnother(charge: Charge): Failure {
  return failure('fault', charge, 'other_answer', 'the provider answered another search than the one that was asked')
}
