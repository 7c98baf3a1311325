// Parts of lists, in SQL and in memory: after an item, so many, of so many bytes.
import type { Statement } from "effect/sql"
import type { ListQuery } from "./Repository.ts"

/**
 * The first of `rows` in `order`, up to the one that makes them reach `maxBytes`, and how many it would have been (`found`).
 * `rows` is a SELECT in that order; `bytes` and `order` are about its columns, and `bytes` says at least so many bytes a row
 * has as JSON: who encodes them finds that the last one is too much, and knows that there are others.
 */
export const upTo = <A extends object>(
  sql: Statement.Constructor,
  rows: Statement.Statement<A>,
  bytes: string,
  order: string,
  maxBytes: number | undefined
): Statement.Statement<A & { readonly found?: number }> =>
  maxBytes === undefined
    ? rows
    : sql<A & { readonly found?: number }>`SELECT * FROM (SELECT part.*,
          sum(${sql.literal(bytes)}) OVER (ORDER BY ${sql.literal(order)}) - (${sql.literal(bytes)}) AS "bytesBefore",
          count(*) OVER ()::int AS found FROM (${rows}) part) fitting
        WHERE "bytesBefore" < ${String(maxBytes)}::text::bigint ORDER BY ${sql.literal(order)}`

/** As SQL has it, for lists in memory that are in their order. */
export const someOf = <A>(
  sorted: ReadonlyArray<A>,
  keyOf: (item: A) => readonly [at: string, id: string],
  { after, limit, maxBytes }: ListQuery,
  most: number,
  isNewestFirst = false
): ReadonlyArray<A> => {
  const isAfter = (item: A) => {
    if (after === undefined) return true
    const [at, id] = keyOf(item)
    return at === after.at ? id > after.id : at > after.at !== isNewestFirst
  }
  let bytes = 0
  return sorted
    .filter(isAfter)
    .slice(0, limit ?? most)
    .filter((item) => {
      const before = bytes
      bytes += maxBytes === undefined ? 0 : Buffer.byteLength(JSON.stringify(item))
      return maxBytes === undefined || before < maxBytes
    })
}
