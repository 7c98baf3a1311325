// Lists that are answered in parts: in a fixed order, by time and then by id, each part going on after the last of the one before.
import type { ListQuery } from "../storage/rooms/ListPart.ts"
import { firstOf, pageBytes } from "./JsonPage.ts"

/** Items of one part, unless fewer are asked for or they are too many bytes. */
export const mostListed = 1000

export interface ListParams {
  readonly limit?: number | undefined
  /** What `next` was. */
  readonly cursor?: string | undefined
}

/** One more than is answered says that there are others. */
export const toQuery = ({ cursor, limit = mostListed }: ListParams): ListQuery => {
  const [at = "", ...id] = cursor?.split(" ") ?? []
  return { after: cursor === undefined ? undefined : { at, id: id.join(" ") }, limit: limit + 1, maxBytes: pageBytes }
}

/** `"NAME":[item, …],"more":boolean,"next":cursor or null` as JSON. */
export const listed = <A>(
  name: string,
  found: ReadonlyArray<A>,
  { limit = mostListed }: ListParams,
  keyOf: (item: A) => readonly [at: string, id: string]
): string => {
  const { more, starts, text } = firstOf(found, limit)
  const last = found[starts.length - 1]
  const next = more && last !== undefined ? keyOf(last).join(" ") : null
  return `"${name}":[${text}],"more":${more},"next":${JSON.stringify(next)}`
}

/** What comes after the cursor, of a list that is had as a whole. */
export const laterThan = <A>(
  all: ReadonlyArray<A>,
  keyOf: (item: A) => readonly [at: string, id: string],
  { cursor }: ListParams
): ReadonlyArray<A> => {
  const { after } = toQuery({ cursor })
  if (after === undefined) return all
  return all.filter((item) => {
    const [at, id] = keyOf(item)
    return at === after.at ? id > after.id : at > after.at
  })
}
