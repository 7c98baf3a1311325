// Which of two instances with different stores gives way, and the texts about it.
import { Redacted } from "effect"
import type { Difference, Disagreement } from "./StoreComparison.ts"

/** Whether it stops an instance that does not serve rooms yet. */
export const isBlocking = ({ isEarlier, other }: Disagreement): boolean => other.state === "active" || isEarlier

/** Whether it stops an instance that serves rooms. */
export const yields = ({ isEarlier, isProven, other }: Disagreement): boolean =>
  isProven && isEarlier && other.state === "active"

/** A store's address, without credentials. */
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
    "another instance uses the same PostgreSQL and another Redis, so events of rooms here would not reach its clients; REDIS_URL and REDIS_PREFIX must be the same on all instances of a service",
  database:
    "another instance uses the same Redis, with the same REDIS_PREFIX, and another PostgreSQL; DATABASE_URL must be the same on all instances of a service, and services that share a Redis need different REDIS_PREFIX settings",
  configuration:
    "another instance uses the same PostgreSQL, and one of the two has no Redis, so events of rooms here would not reach its clients; all instances that share a PostgreSQL need the same REDIS_URL"
}

/** For clients and load balancers: without addresses. */
export const reasonOf = ([first]: ReadonlyArray<Disagreement>): string =>
  first === undefined
    ? "it is not known yet whether the other instances use the same Redis and PostgreSQL"
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
