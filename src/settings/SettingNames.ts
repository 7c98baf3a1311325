// Finds names in the environment that look like a misspelt setting. Unnoticed, the setting would keep its default, and
// without AUTH_SECRET, DATABASE_URL or REDIS_URL another service than intended would start.
import { distance } from "fastest-levenshtein"

// Prefixes that only settings have. OTEL_ is shared with every OpenTelemetry library.
const prefixed = /^(ADMIN|ASSIGN|AUTH|BUFFER|CATALOG|DATABASE|HOTPATH|RECORD|REDIS|REQUEST|UPSTREAM)_/

// Kubernetes and Docker set these for neighbouring services: REDIS_PORT_6379_TCP, DATABASE_SERVICE_HOST.
const serviceLink = /_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT|PORT_\d+_(TCP|UDP)(_(ADDR|PORT|PROTO))?)$/
// Names that this project's tests, benches and scripts read.
const ours = /^(TEST_|HOTPATH_\w*(CRASH|SEED))/

const letters = (name: string) => [...name].sort().join("")
/** Letters in another order are one slip of the fingers, however many edits they are. */
const edits = (a: string, b: string) => (a !== b && letters(a) === letters(b) ? 1 : distance(a, b))

const near = (name: string) => (name.length < 7 ? 1 : 2)

/** Unknown names of the environment that are near a known one, or have its prefix, with the name probably meant. */
export const misspelt = (environment: ReadonlyArray<string>, known: ReadonlyArray<string>) => {
  const isKnown = new Set(known)
  return environment.flatMap((name) => {
    if (isKnown.has(name) || name.startsWith("INTEGRATION_SECRET_") || serviceLink.test(name) || ours.test(name))
      return []
    const upper = name.toUpperCase()
    if (upper.startsWith("INTEGRATION_")) return [{ name, meant: "INTEGRATION_SECRET_…" }]
    const wanted = upper.replace(/^HOTPATH_/, "")
    const [closest] = known
      .map((candidate) => ({ candidate, edits: edits(wanted, candidate) }))
      .sort((a, b) => a.edits - b.edits)
    if (closest === undefined) return []
    const isNear = closest.edits <= near(wanted)
    return isNear || prefixed.test(upper) ? [{ name, meant: closest.candidate }] : []
  })
}
