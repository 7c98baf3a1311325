// Pages of a listing: a cursor is the last key of the page before it, and nothing a client should look into.
import { Option, Result } from "effect"
import { Base64Url } from "effect/encoding"

export const defaultLimit = 50

/** A cursor that is not of our making (NUL stands in no key) starts from the beginning. */
export const fromCursor = (cursor: string | undefined) => {
  if (cursor === undefined) return undefined
  const key = Option.getOrUndefined(Result.getSuccess(Base64Url.decodeString(cursor)))
  return key?.includes("\0") === true ? undefined : key
}

/** What a query for `limit + 1` items found, as a page of `limit`. */
export const pageOf = <A>(items: ReadonlyArray<A>, limit: number, key: (item: A) => string) => {
  const shown = items.slice(0, limit)
  const last = shown.at(-1)
  return { shown, next: items.length > limit && last !== undefined ? Base64Url.encode(key(last)) : null }
}
