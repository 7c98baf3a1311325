// What a setting is, and the kinds of values that settings have. A kind reads the text of a value and refuses what a
// schema alone accepts: URLs of the wrong scheme, durations that never end.
import { Duration, Option, Redacted, Result, Schema } from "effect"
import { IpNetwork } from "effect/net"

interface Kind<A> {
  /** Undefined: the text is no value of this kind. */
  readonly read: (text: string) => A | undefined
  /** What a valid value looks like; part of the error about an invalid one. */
  readonly wanted: string
  readonly secret?: boolean
}

export interface Setting<A> extends Kind<A> {
  /** As it would stand in the environment. Undefined: there is no default, and the value is optional. */
  readonly fallback: string | undefined
  readonly meaning: string
  /** The default as documentation shows it, where that is not `fallback`. */
  readonly shown?: string
}

export const setting = <A>(
  kind: Kind<A>,
  fallback: string | undefined,
  meaning: string,
  shown?: string
): Setting<A> => ({ ...kind, fallback, meaning, ...(shown !== undefined && { shown }) })

/** A setting that may be unset. */
export const optional = <A>(kind: Kind<A>, meaning: string): Setting<A | undefined> =>
  setting<A | undefined>(kind, undefined, meaning)

const decoding = <A>(schema: Schema.Codec<A, string>) => {
  const decode = Schema.decodeOption(schema)
  return (given: string) => Option.getOrUndefined(decode(given))
}

const separated = (given: string) =>
  given
    .split(",")
    .map((part) => part.trim())
    .filter((part) => part !== "")

/** Reads comma-separated parts; there may be none. */
const each =
  <A>(read: (part: string) => A | undefined) =>
  (given: string): ReadonlyArray<A> | undefined => {
    const parts = separated(given).map(read)
    return parts.every((part) => part !== undefined) ? parts : undefined
  }

export const text = (wanted: string): Kind<string> => ({ read: (given) => given, wanted })

export const matching = (pattern: RegExp, wanted: string): Kind<string> => ({
  read: (given) => (pattern.test(given) ? given : undefined),
  wanted
})

export const secret = (pattern: RegExp, wanted: string): Kind<Redacted.Redacted> => ({
  read: (given) => (pattern.test(given) ? Redacted.make(given) : undefined),
  wanted,
  secret: true
})

export const oneOf = <const Value extends string>(...values: ReadonlyArray<Value>): Kind<Value> => ({
  read: (given) => values.find((value) => value === given),
  wanted: `${values.slice(0, -1).join(", ")} or ${values.at(-1)}`
})

export const list = (wanted: string): Kind<ReadonlyArray<string>> => ({ read: separated, wanted })

export const count = {
  read: decoding(Schema.FiniteFromString.check(Schema.isInt(), Schema.isGreaterThan(0))),
  wanted: "a whole number above 0"
}

export const ratio = {
  read: decoding(Schema.FiniteFromString.check(Schema.isBetween({ minimum: 0, maximum: 1 }))),
  wanted: "a number from 0 to 1"
}

export const port = {
  read: decoding(Schema.FiniteFromString.check(Schema.isInt(), Schema.isBetween({ minimum: 0, maximum: 65_535 }))),
  wanted: "a port, 0 to 65535"
}

/** `Infinity` and negative durations decode as well: a deadline that never comes, an interval without a pause. */
export const duration = {
  read: decoding(
    Schema.DurationFromString.check(Schema.makeFilter((read) => Duration.isFinite(read) && Duration.toMillis(read) > 0))
  ),
  wanted: "a duration above 0, such as 5 seconds"
}

/** CIDR ranges, comma-separated. */
export const networks = (wanted: string): Kind<ReadonlyArray<IpNetwork.IpNetwork>> => ({
  read: each((part) => Result.getOrUndefined(IpNetwork.fromString(part))),
  wanted
})

/** `collector:4318` parses as a URL too, of the scheme `collector`. */
export const httpUrl = (example: string): Kind<URL> => ({
  read: (given) => {
    const url = URL.canParse(given) ? new URL(given) : undefined
    return url !== undefined && /^https?:$/.test(url.protocol) && url.hostname !== "" ? url : undefined
  },
  wanted: `an http or https URL, such as ${example}`
})

export const postgresUrl: Kind<Redacted.Redacted> = {
  read: (given) => (/^postgres(ql)?:\/\/.+/.test(given) && URL.canParse(given) ? Redacted.make(given) : undefined),
  wanted: "postgres://user:password@host:5432/database",
  secret: true
}

/** One, or several (a Cluster). A path must be a database number: ioredis ends the process over any other. */
export const redisUrls: Kind<Redacted.Redacted> = {
  read: (given) =>
    given
      .split(",")
      .map((url) => url.trim())
      .every((url) => /^rediss?:\/\/[^/]+/.test(url) && URL.canParse(url) && /^(\/\d*)?$/.test(new URL(url).pathname))
      ? Redacted.make(given)
      : undefined,
  wanted: "redis://host:6379, optionally followed by /DATABASE-NUMBER; several: redis://a:6379,redis://b:6379",
  secret: true
}

const origin = (given: string) => {
  if (given === "*") return given
  return /^[a-z][a-z0-9+.-]*:\/\/[^/?#@\s*]+\/?$/i.test(given) ? given.toLowerCase().replace(/\/$/, "") : undefined
}

/** As browsers write them in `Origin`: a scheme, a host, a port if it is not the scheme's own, no path; or `*`. */
export const origins: Kind<ReadonlyArray<string>> = {
  read: each(origin),
  wanted: "scheme://host[:port], comma-separated, or *; such as https://app.example,http://localhost:5173"
}
