// Pages of a listing. A cursor encodes the last key of the previous page and is opaque to clients.
import { Effect, Option, Result } from "effect"
import { Base64Url } from "effect/encoding"
import { UnavailableProblem } from "./AdminApi.ts"

export interface PageQuery {
  readonly limit?: number
  readonly cursor?: string
}

const defaultLimit = 50

/** An invalid cursor starts from the beginning. (No key contains NUL.) */
const fromCursor = (cursor: string) => {
  const key = Option.getOrUndefined(Result.getSuccess(Base64Url.decodeString(cursor)))
  return key?.includes("\0") === true ? undefined : key
}

/** `find` returns up to `limit` items whose key comes after `after`, in order. */
export const page = Effect.fnUntraced(function* <A, E>(
  { cursor, limit = defaultLimit }: PageQuery,
  find: (after: string | undefined, limit: number) => Effect.Effect<ReadonlyArray<A>, E>,
  keyOf: (item: A) => string
) {
  // One more than the page, to know whether there is another.
  const found = yield* Effect.mapError(
    find(cursor === undefined ? undefined : fromCursor(cursor), limit + 1),
    () => new UnavailableProblem()
  )
  const items = found.slice(0, limit)
  const last = items.at(-1)
  return { items, next: found.length > limit && last !== undefined ? Base64Url.encode(keyOf(last)) : null }
})
