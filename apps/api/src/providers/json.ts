/**
 * Parses JSON. Returns undefined when the text is not JSON: no JSON document has that value. With `decimals`, numbers under
 * those keys come back as their source text (`24.20` as `'24.20'`), so that a price never passes through a float.
 */
export function parseJson(text: string, decimals?: ReadonlySet<string>): unknown {
  try {
    if (!decimals) return JSON.parse(text)
    return JSON.parse(text, (key: string, value: unknown, context?: { source?: string }) =>
      typeof value === 'number' && decimals.has(key) ? (context?.source ?? String(value)) : value,
    )
  } catch {
    return undefined
  }
}
