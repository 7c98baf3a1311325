// Parts of lists, in SQL and in memory: the items after one, limited by number and bytes.
import type { Statement } from "effect/sql"

export interface ListQuery {
  /** The time and id of an item: the part begins after it. */
  readonly after?: { readonly at: string; readonly id: string } | undefined
  readonly limit?: number | undefined
  /** The part ends with the item that reaches it. Items are never counted for more bytes than they have as JSON. */
  readonly maxBytes?: number | undefined
}

/** Items in a list, unless a query asks for fewer. */
export const listLimits = { rooms: 1000, participants: 10_000, threads: 1000 } as const

/**
 * The first of `rows` in `order`, up to the one that reaches `maxBytes`, and the number without that limit (`found`).
 * `rows` is a SELECT in that order; `bytes` and `order` are expressions of its columns. `bytes` is at most what the
 * row has as JSON: so the caller, who encodes the rows, finds the last one to be too much, and knows that there are
 * more.
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

/** The same for a sorted list in memory. */
export const partOf = <A>(
  sorted: ReadonlyArray<A>,
  keyOf: (item: A) => readonly [at: string, id: string],
  { after, limit, maxBytes }: ListQuery,
  maxItems: number,
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
    .slice(0, limit ?? maxItems)
    .filter((item) => {
      const before = bytes
      bytes += maxBytes === undefined ? 0 : Buffer.byteLength(JSON.stringify(item))
      return maxBytes === undefined || before < maxBytes
    })
}
