/** Cells of exported files that Excel, Numbers and Sheets show as what they are. Pure. */

export type Cell = string | number | null

/**
 * Text that begins with = + - @ tab or CR would be run as a formula: it gets a ' in front, which spreadsheets take for "this
 * is text". Full-width forms of these signs count too, since some programs fold them.
 */
export function safeText(text: string): string {
  return /^[=+\-@\t\r\uff1d\uff0b\uff0d\uff20]/.test(text) ? `'${text}` : text
}

/** One cell of a CSV line (RFC 4180); with `safe` text that looks like a formula is made text. */
export function csvCell(value: Cell, safe = true): string {
  if (value === null) return ''
  if (typeof value === 'number') return String(value)
  const text = safe ? safeText(value) : value
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}

/** Text for XML 1.0: what it forbids is left out, what it reserves is escaped. */
export function xmlText(text: string): string {
  if (!/[^ !#-%'-;=?-~\u00a0-\ud7ff\ue000-\ufffd]/.test(text)) return text
  return (
    text
      .toWellFormed()
      // oxlint-disable-next-line no-control-regex -- these are what XML forbids
      .replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, '')
      .replaceAll('&', '&amp;')
      .replaceAll('<', '&lt;')
      .replaceAll('>', '&gt;')
      .replaceAll('"', '&quot;')
  )
}
