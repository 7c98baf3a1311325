// Names in the environment that are no setting but look like one: a misspelt name is silently a default otherwise, and with
// AUTH_SECRET, DATABASE_URL or REDIS_URL that is another service than was meant.

export interface Misspelt {
  readonly name: string
  readonly meant: string
}

// What only a setting begins with. OTEL_ is shared with every OpenTelemetry library.
const prefixes = [
  "ADMIN_",
  "ASSIGN_",
  "AUTH_",
  "BUFFER_",
  "CATALOG_",
  "DATABASE_",
  "HOTPATH_",
  "RECORD_",
  "REDIS_",
  "REQUEST_",
  "UPSTREAM_"
]

// Kubernetes and Docker name services that stand nearby: REDIS_PORT_6379_TCP, DATABASE_SERVICE_HOST.
const serviceLink = /_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT|PORT_\d+_(TCP|UDP)(_(ADDR|PORT|PROTO))?)$/
// Words that tests, benches and scripts of this project read.
const ours = /^(TEST_|HOTPATH_\w*(CRASH|SEED))/

/** Edits between two names: a letter put in, left out, changed, or two neighbours swapped. */
export const distance = (a: string, b: string): number => {
  let before: ReadonlyArray<number> = []
  let last: ReadonlyArray<number> = Array.from({ length: b.length + 1 }, (_, column) => column)
  for (let row = 1; row <= a.length; row++) {
    const next = [row]
    for (let column = 1; column <= b.length; column++) {
      const same = a[row - 1] === b[column - 1]
      const swapped = a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1]
      next.push(
        Math.min(
          (last[column] ?? 0) + 1,
          (next[column - 1] ?? 0) + 1,
          (last[column - 1] ?? 0) + (same ? 0 : 1),
          swapped ? (before[column - 2] ?? 0) + 1 : Number.POSITIVE_INFINITY
        )
      )
    }
    before = last
    last = next
  }
  return last[b.length] ?? 0
}

const near = (name: string) => (name.length < 7 ? 1 : 2)

/** What may be meant by each name of the environment that is none of `known`: of those that are near, or begin as one. */
export const misspelt = (environment: ReadonlyArray<string>, known: ReadonlyArray<string>): ReadonlyArray<Misspelt> => {
  const isKnown = new Set(known)
  return environment.flatMap((name) => {
    if (isKnown.has(name) || name.startsWith("INTEGRATION_SECRET_") || serviceLink.test(name) || ours.test(name))
      return []
    const upper = name.toUpperCase()
    if (upper.startsWith("INTEGRATION_")) return [{ name, meant: "INTEGRATION_SECRET_…" }]
    const asked = upper.replace(/^HOTPATH_/, "")
    const [closest] = known
      .map((candidate) => ({ candidate, edits: distance(asked, candidate) }))
      .sort((a, b) => a.edits - b.edits)
    if (closest === undefined) return []
    const isNear = closest.edits <= near(asked)
    return isNear || prefixes.some((prefix) => upper.startsWith(prefix)) ? [{ name, meant: closest.candidate }] : []
  })
}
