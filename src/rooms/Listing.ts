// Lists in parts: ordered by time and id, each part starting after the last item of the part before.
import type { ListQuery } from "../storage/rooms/ListPart.ts"
import { firstOf, pageBytes } from "./JsonPage.ts"

/** Items of a part, unless the request asks for fewer, or they are too many bytes. */
const maxItems = 1000

export interface ListParams {
  readonly limit?: number | undefined
  /** The `next` of the part before. */
  readonly cursor?: string | undefined
}

/** Reads one item more than the reply has: it shows whether there are more. */
export const toQuery = ({ cursor, limit = maxItems }: ListParams): ListQuery => {
  const [at = "", ...id] = cursor?.split(" ") ?? []
  return { after: cursor === undefined ? undefined : { at, id: id.join(" ") }, limit: limit + 1, maxBytes: pageBytes }
}

/** `"NAME":[item, …],"more":boolean,"next":cursor or null`, as JSON. */
export const listed = <A>(
  name: string,
  found: ReadonlyArray<A>,
  { limit = maxItems }: ListParams,
  keyOf: (item: A) => readonly [at: string, id: string]
): string => {
  const { more, starts, text } = firstOf(found, limit)
  const last = found[starts.length - 1]
  const next = more && last !== undefined ? keyOf(last).join(" ") : null
  return `"${name}":[${text}],"more":${more},"next":${JSON.stringify(next)}`
}

/** The items after the cursor, of a complete list. */
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
