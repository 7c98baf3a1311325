// What a setting is, and the kinds of values that settings have. A kind reads the text of a value and refuses what a
// schema alone accepts: URLs of the wrong scheme, durations that never end.
import { Config, ConfigProvider, Duration, Effect, Redacted, Schema } from "effect"
import { IpNetwork } from "effect/net"

export interface Setting<A> {
  readonly config: (name: string) => Config.Config<A>
  /** As it would stand in the environment. Undefined: there is no default, and the value is optional. */
  readonly fallback: string | undefined
  /** The default as documentation shows it, where that is not `fallback`. */
  readonly shown: string | undefined
  readonly meaning: string
  /** What a valid value looks like; part of the error about an invalid one. */
  readonly wanted: string
  readonly secret: boolean
}

interface More {
  readonly secret?: boolean
  readonly shown?: string
}

export const setting = <A>(
  config: (name: string) => Config.Config<A>,
  fallback: string | undefined,
  meaning: string,
  wanted: string,
  { secret = false, shown }: More = {}
): Setting<A> => ({ config, fallback, meaning, wanted, secret, shown })

/** A setting that may be unset. */
export const optional = <A>(
  config: (name: string) => Config.Config<A>,
  meaning: string,
  wanted: string,
  more?: More
): Setting<A | undefined> => setting<A | undefined>(config, undefined, meaning, wanted, more)

export const wholeNumber = "a whole number above 0"
export const aDuration = "a duration above 0, such as 5 seconds"

const refused = (message: string) =>
  Effect.fail(new Config.ConfigError(new ConfigProvider.SourceError({ message: `not usable: ${message}` })))

const checked =
  <A>(read: (text: string) => A | undefined, wanted: string) =>
  (name: string): Config.Config<A> =>
    Config.mapEffect(Config.String(name), (text) => {
      const value = read(text)
      return value === undefined ? refused(wanted) : Effect.succeed(value)
    })

const separated = (text: string) =>
  text
    .split(",")
    .map((part) => part.trim())
    .filter((part) => part !== "")

export const text = (name: string) => Config.NonEmptyString(name)

export const matching = (pattern: RegExp) => (name: string) =>
  Config.schema(Schema.String.check(Schema.isPattern(pattern)), name)

export const secret = (pattern: RegExp) => (name: string) =>
  Config.map(matching(pattern)(name), (value) => Redacted.make(value))

export const oneOf =
  <const Values extends ReadonlyArray<string>>(values: Values) =>
  (name: string) =>
    Config.schema(Schema.Literals(values), name)

/** Comma-separated; may be empty. */
export const list = (name: string) => Config.map(Config.withDefault(Config.String(name), ""), separated)

export const count = (name: string) =>
  Config.schema(Schema.FiniteFromString.check(Schema.isInt(), Schema.isGreaterThan(0)), name)

export const ratio = (name: string) =>
  Config.schema(Schema.FiniteFromString.check(Schema.isBetween({ minimum: 0, maximum: 1 })), name)

export const port = (name: string) =>
  Config.schema(Schema.FiniteFromString.check(Schema.isInt(), Schema.isBetween({ minimum: 0, maximum: 65_535 })), name)

/** `Infinity` and negative durations parse as well: a deadline that never comes, an interval without a pause. */
export const duration = (name: string) =>
  Config.mapEffect(Config.Duration(name), (read) =>
    Duration.isFinite(read) && Duration.toMillis(read) > 0 ? Effect.succeed(read) : refused(aDuration)
  )

/** CIDR ranges, comma-separated. */
export const networks = (name: string) =>
  Config.mapEffect(list(name), (parts) =>
    Effect.catch(
      Effect.forEach(parts, (part) => Effect.fromResult(IpNetwork.fromString(part))),
      ({ message }) => refused(message)
    )
  )

/** `collector:4318` parses as a URL too, of the scheme `collector`. */
export const httpUrl = checked((given) => {
  const url = URL.canParse(given) ? new URL(given) : undefined
  return url !== undefined && /^https?:$/.test(url.protocol) && url.hostname !== "" ? url : undefined
}, "an http or https URL")

export const postgresUrl = checked(
  (given) => (/^postgres(ql)?:\/\/.+/.test(given) && URL.canParse(given) ? Redacted.make(given) : undefined),
  "a postgres URL"
)

/** One, or several (a Cluster). A path must be a database number: ioredis ends the process over any other. */
export const redisUrls = checked(
  (given) =>
    given
      .split(",")
      .map((url) => url.trim())
      .every((url) => /^rediss?:\/\/[^/]+/.test(url) && URL.canParse(url) && /^(\/\d*)?$/.test(new URL(url).pathname))
      ? Redacted.make(given)
      : undefined,
  "redis URLs"
)

/** As browsers write them in `Origin`: a scheme, a host, a port if it is not the scheme's own, no path; or `*`. */
const origin = (given: string) => {
  if (given === "*") return given
  return /^[a-z][a-z0-9+.-]*:\/\/[^/?#@\s*]+\/?$/i.test(given) ? given.toLowerCase().replace(/\/$/, "") : undefined
}

/** Comma-separated; unset: none. */
export const origins = (name: string): Config.Config<ReadonlyArray<string>> =>
  Config.withDefault(
    checked((given) => {
      const read = separated(given).map(origin)
      return read.every((part) => part !== undefined) ? read : undefined
    }, "origins")(name),
    []
  )
