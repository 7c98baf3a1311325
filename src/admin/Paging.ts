// Pages of a listing. A cursor encodes the last key of the previous page and is opaque to clients.
import { Option, Result } from "effect"
import { Base64Url } from "effect/encoding"

export const defaultLimit = 50

/** An invalid cursor starts from the beginning. (No key contains NUL.) */
export const fromCursor = (cursor: string | undefined) => {
  if (cursor === undefined) return undefined
  const key = Option.getOrUndefined(Result.getSuccess(Base64Url.decodeString(cursor)))
  return key?.includes("\0") === true ? undefined : key
}

/** A page of `limit` items, from the result of a query for `limit + 1`. */
export const pageOf = <A>(items: ReadonlyArray<A>, limit: number, key: (item: A) => string) => {
  const shown = items.slice(0, limit)
  const last = shown.at(-1)
  return { shown, next: items.length > limit && last !== undefined ? Base64Url.encode(key(last)) : null }
}
