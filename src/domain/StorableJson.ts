// JSON that PostgreSQL can store: jsonb refuses NUL and lone surrogates, and one such row fails its whole batch. So
// requests with them are refused.

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
 * The path to what can't be stored in a value parsed from `text`; undefined if all of it can. In valid UTF-8, JSON
 * strings hold NUL and lone surrogates only as escapes, so a text without `\u` is not searched.
 */
export const unstorableAt = (value: unknown, text: string): Path | undefined =>
  text.includes("\\u") ? find(value, []) : undefined

export const isStorable = (value: unknown, text: string): boolean => unstorableAt(value, text) === undefined
