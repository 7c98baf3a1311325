// What PostgreSQL can keep of JSON: jsonb refuses NUL and lone surrogates, and one such row would fail its whole batch,
// so both are refused where they come in.

type Path = ReadonlyArray<string | number>

const find = (value: unknown, path: Path): Path | undefined => {
  if (typeof value === "string") return value.includes("\0") || !value.isWellFormed() ? path : undefined
  if (typeof value !== "object" || value === null) return undefined
  for (const [key, item] of Object.entries(value)) {
    const at = find(key, path) ?? find(item, [...path, Array.isArray(value) ? Number(key) : key])
    if (at !== undefined) return at
  }
  return undefined
}

/**
 * Where a value parsed from `text` holds what can't be stored; undefined when nothing does. Valid UTF-8 holds neither NUL
 * nor a lone surrogate in a JSON string except escaped, so a text without `\u` needs no walk.
 */
export const unstorableAt = (value: unknown, text: string): Path | undefined =>
  text.includes("\\u") ? find(value, []) : undefined

export const isStorable = (value: unknown, text: string): boolean => unstorableAt(value, text) === undefined
