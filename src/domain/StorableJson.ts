// What PostgreSQL can keep of JSON: jsonb refuses NUL and lone surrogates, and one such row would fail its whole batch,
// so both are refused where they come in.

const unstorable = (value: unknown): boolean => {
  if (typeof value === "string") return value.includes("\0") || !value.isWellFormed()
  if (Array.isArray(value)) return value.some(unstorable)
  if (typeof value === "object" && value !== null) {
    return Object.entries(value).some(([key, item]) => unstorable(key) || unstorable(item))
  }
  return false
}

/**
 * Whether a value parsed from `text` can be stored. Valid UTF-8 holds neither NUL nor a lone surrogate in a JSON string
 * except escaped, so a text without `\u` needs no walk.
 */
export const isStorable = (value: unknown, text: string): boolean => !text.includes("\\u") || !unstorable(value)
