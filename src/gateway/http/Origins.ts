// Which web pages may open a connection, and under which names this instance answers.
//
// A browser sends the page's origin (`Origin`) with every upgrade. Other clients send none, and only their token
// counts. The same origin is the same host and port. The scheme is compared if a proxy states it (`x-forwarded-proto`):
// the instance itself speaks plain HTTP and cannot know whether TLS ended in front of it. A page cannot set that
// header, so it can only narrow what is allowed.
//
// In development anyone may claim to be any user. So only pages of this machine may connect, and only loopback names
// are answered: a page that points its own name at 127.0.0.1 (DNS rebinding) is refused by its `Host`.

/** The host part of a `Host` header, without its port; undefined if it is not a host. */
const hostname = (host: string) =>
  /^[^\s/@?#\\]+$/.test(host) && URL.canParse(`http://${host}`) ? new URL(`http://${host}`).hostname : undefined

const isLoopback = (name: string) =>
  name === "localhost" || name.endsWith(".localhost") || name === "[::1]" || /^127(\.\d{1,3}){3}$/.test(name)

/** A parsed origin as browsers write it; undefined for `null`, other schemes, and other spellings. */
const parse = (origin: string) => {
  if (!URL.canParse(origin)) return undefined
  const url = new URL(origin)
  return (url.protocol === "http:" || url.protocol === "https:") && url.origin === origin ? url : undefined
}

const normalised = (origin: string) => (URL.canParse(origin) ? new URL(origin).origin : origin)

const isSameOrigin = (origin: URL, host: string, forwardedProto: string | undefined) => {
  if (hostname(host) === undefined || new URL(`${origin.protocol}//${host}`).host !== origin.host) return false
  const outside = forwardedProto?.split(",")[0]?.trim().toLowerCase().replace(/^ws/, "http")
  return outside === undefined || outside === "" || origin.protocol === `${outside}:`
}

/** What a client reads that was refused by its `Host`. */
export const misdirected =
  "in development (no AUTH_SECRET, no AUTH_JWKS_URL) only loopback names are answered, and the hosts of ALLOWED_ORIGINS"

export interface Origins {
  /** Judges the `Host` of any request. Browsers always send one. */
  readonly isHostAllowed: (host: string | undefined) => boolean
  readonly isOriginAllowed: (
    origin: string | undefined,
    host: string | undefined,
    forwardedProto?: string | undefined
  ) => boolean
}

export const makeOrigins = (allowed: ReadonlyArray<string>, isDevelopment: boolean): Origins => {
  const origins = new Set(allowed.map(normalised))
  const hosts = new Set([...origins].map((origin) => parse(origin)?.hostname))
  const any = origins.has("*")
  return {
    isHostAllowed: (host) => {
      if (!isDevelopment || any || host === undefined) return true
      const name = hostname(host)
      return name !== undefined && (isLoopback(name) || hosts.has(name))
    },
    isOriginAllowed: (origin, host, forwardedProto) => {
      if (origin === undefined || any || origins.has(origin)) return true
      const parsed = parse(origin)
      if (parsed === undefined) return false
      if (isDevelopment && isLoopback(parsed.hostname)) return true
      return host !== undefined && isSameOrigin(parsed, host, forwardedProto)
    }
  }
}
