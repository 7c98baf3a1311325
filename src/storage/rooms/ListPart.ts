// Parts of lists, in SQL and in memory: the items after one, limited by number and bytes.
import { Effect } from "effect"
import type { SqlError, Statement } from "effect/sql"
import { isUuid } from "../../domain/Ids.ts"

export interface ListQuery {
  /** The time and id of an item: the part begins after it. */
  readonly after?: { readonly at: string; readonly id: string } | undefined
  readonly limit?: number | undefined
  /** The part ends with the item that reaches it. Items are never counted for more bytes than they have as JSON. */
  readonly maxBytes?: number | undefined
}

/** Items in a list, unless a query asks for fewer. */
export const listLimits = { rooms: 1000, participants: 10_000, threads: 1000 } as const

/** The order of a list in SQL: by time, then by id. */
export interface ListOrder {
  readonly at: string
  readonly id: string
  readonly idType: "text" | "uuid"
  readonly isNewestFirst?: boolean
  /** The same order, of the names that the rows give these columns. */
  readonly named: string
  /** As of `upTo`. */
  readonly bytes: string
  readonly maxItems: number
}

/** The part of the list `rows`, a SELECT that ends with its WHERE. */
export const listPart = <A extends object>(
  sql: Statement.Constructor,
  rows: Statement.Statement<A>,
  { bytes, idType, isNewestFirst = false, maxItems, named, ...columns }: ListOrder,
  { after, limit, maxBytes }: ListQuery = {}
): Effect.Effect<ReadonlyArray<A>, SqlError.SqlError> => {
  if (after !== undefined && idType === "uuid" && !isUuid(after.id)) return Effect.succeed([])
  const [at, id] = [sql.literal(columns.at), sql.literal(columns.id)]
  const afterAt = sql`${after?.at ?? null}::text::timestamptz`
  const afterId = sql`${after?.id ?? null}::text::${sql.literal(idType)}`
  const later = isNewestFirst
    ? sql`AND (${at} < ${afterAt} OR ${at} = ${afterAt} AND ${id} > ${afterId})`
    : sql`AND (${at}, ${id}) > (${afterAt}, ${afterId})`
  const part = sql<A>`${rows} ${after === undefined ? sql`` : later}
    ORDER BY ${at} ${sql.literal(isNewestFirst ? "DESC" : "ASC")}, ${id} LIMIT ${limit ?? maxItems}`
  return upTo(sql, part, bytes, named, maxBytes)
}

/**
 * The first of `rows` in `order`, up to the one that reaches `maxBytes`. `rows` is a SELECT in that order; `bytes` and
 * `order` are expressions of its columns. `bytes` is at most what the row has as JSON: so the caller, who encodes the
 * rows, finds the last one to be too much, and knows that there are more.
 */
export const upTo = <A extends object>(
  sql: Statement.Constructor,
  rows: Statement.Statement<A>,
  bytes: string,
  order: string,
  maxBytes: number | undefined
): Statement.Statement<A> => {
  if (maxBytes === undefined) return rows
  const [size, sorting] = [sql.literal(bytes), sql.literal(order)]
  return sql<A>`WITH part AS (${rows}) SELECT * FROM part ORDER BY ${sorting} LIMIT (
    SELECT count(*) FROM (SELECT sum(${size}) OVER (ORDER BY ${sorting}) - (${size}) AS before FROM part) sized
    WHERE before < ${String(maxBytes)}::text::bigint)`
}

/** The same for a list in memory. */
export const partOf = <A>(
  items: Iterable<A>,
  keyOf: (item: A) => readonly [at: string, id: string],
  { after, limit, maxBytes }: ListQuery = {},
  maxItems: number,
  isNewestFirst = false
): ReadonlyArray<A> => {
  // Texts of ASCII have this order in Postgres, too.
  const compare = ([at, id]: readonly [string, string], [otherAt, otherId]: readonly [string, string]) => {
    if (at === otherAt) return id < otherId ? -1 : Number(id > otherId)
    return at < otherAt === isNewestFirst ? 1 : -1
  }
  const part = [...items]
    .filter((item) => after === undefined || compare(keyOf(item), [after.at, after.id]) > 0)
    .sort((one, other) => compare(keyOf(one), keyOf(other)))
    .slice(0, limit ?? maxItems)
  return firstBytes(part, (item) => Buffer.byteLength(JSON.stringify(item)), maxBytes)
}

/** The first of the items, up to the one that reaches `maxBytes`. */
export const firstBytes = <A>(
  items: ReadonlyArray<A>,
  bytesOf: (item: A) => number,
  maxBytes = Number.POSITIVE_INFINITY
): Array<A> => {
  let bytes = 0
  return items.filter((item) => {
    const before = bytes
    bytes += bytesOf(item)
    return before < maxBytes
  })
}
