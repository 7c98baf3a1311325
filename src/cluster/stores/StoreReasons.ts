// Who of two instances with different stores gives way, and what is said about it.
import { hostname } from "node:os"
import { Redacted } from "effect"
import type { Difference, Disagreement } from "./StoreAgreement.ts"

/** Whether it keeps one from using rooms that does not use them yet. */
export const isBlocking = ({ isEarlier, other }: Disagreement): boolean => other.state === "active" || isEarlier

/** Whether one that does has to stop. */
export const yields = ({ isEarlier, isProven, other }: Disagreement): boolean =>
  isProven && isEarlier && other.state === "active"

export const place = `${hostname()}:${process.pid}`

/** Where a store is, without who may use it. */
export const labelOf = (url: Redacted.Redacted): string =>
  Redacted.value(url)
    .split(",")
    .map((one) => {
      const text = one.trim()
      if (!URL.canParse(text)) return "?"
      const { host, pathname } = new URL(text)
      return `${host}${pathname === "/" ? "" : pathname}`
    })
    .join(",")

const reasons: Readonly<Record<Difference, string>> = {
  redis:
    "another instance uses the same PostgreSQL and another Redis, so its clients would not hear of what happens in rooms here; REDIS_URL and REDIS_PREFIX have to be the same on all instances of a service",
  database:
    "another instance uses the same Redis, with the same REDIS_PREFIX, and another PostgreSQL; DATABASE_URL has to be the same on all instances of a service, and services that share a Redis need a REDIS_PREFIX each",
  configuration:
    "another instance uses the same PostgreSQL, and one of the two has no Redis, so its clients would not hear of what happens in rooms here; instances that share a PostgreSQL need the same REDIS_URL, all of them"
}

/** Without addresses: clients and load balancers may read it. */
export const reasonOf = ([first]: ReadonlyArray<Disagreement>): string =>
  first === undefined
    ? "whether the other instances use the same Redis and PostgreSQL is not known yet"
    : reasons[first.what]

/** For the log. */
export const inWords = (
  { other, what }: Disagreement,
  ours: { readonly redis: string; readonly database: string }
): string => {
  const store = what === "database" ? "database" : "redis"
  const name = store === "redis" ? "Redis" : "PostgreSQL"
  return `the stores differ: ${reasons[what]}. The ${name} of this instance: ${ours[store]}; of the other (${other.place}): ${other.label}`
}
