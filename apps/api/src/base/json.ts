/**
 * `value` as JSON that PostgreSQL accepts as jsonb: NUL and lone surrogates, which a page may contain and jsonb refuses,
 * become U+FFFD. Costs one scan more than JSON.stringify.
 */
export function toJson(value: unknown): string {
  const json = JSON.stringify(value)
  // JSON.stringify writes both as escapes, so their absence in the text proves there are none.
  if (!/\\u(?:0000|d[89a-f])/.test(json)) return json
  return json.replace(/\\(?:u(?:0000|d[89a-f][0-9a-f]{2})|.)/g, (escape) => (escape.length > 2 ? '\\ufffd' : escape))
}
