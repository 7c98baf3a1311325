// How values of settings are read that a schema alone does not judge: URLs, origins.
import { Config, ConfigProvider, Effect, Redacted } from "effect"

const refused = (message: string) => new Config.ConfigError(new ConfigProvider.SourceError({ message }))

const checked =
  <A>(read: (text: string) => A | undefined) =>
  (name: string): Config.Config<A> =>
    Config.mapEffect(Config.String(name), (text) => {
      const value = read(text)
      return value === undefined ? Effect.fail(refused(`${name} is not usable`)) : Effect.succeed(value)
    })

/** `collector:4318` parses as a URL too, of the scheme `collector`. */
export const httpUrl = checked((text) => {
  const url = URL.canParse(text) ? new URL(text) : undefined
  return url !== undefined && /^https?:$/.test(url.protocol) && url.hostname !== "" ? url : undefined
})

export const postgresUrl = checked((text) =>
  /^postgres(ql)?:\/\/.+/.test(text) && URL.canParse(text) ? Redacted.make(text) : undefined
)

/** One, or several (a Cluster). What follows the host is a number: ioredis ends the process over another. */
export const redisUrls = checked((text) =>
  text
    .split(",")
    .map((url) => url.trim())
    .every((url) => /^rediss?:\/\/[^/]+/.test(url) && URL.canParse(url) && /^(\/\d*)?$/.test(new URL(url).pathname))
    ? Redacted.make(text)
    : undefined
)

const origin = (text: string) => {
  if (text === "*") return text
  return /^[a-z][a-z0-9+.-]*:\/\/[^/?#@\s*]+\/?$/i.test(text) ? text.toLowerCase().replace(/\/$/, "") : undefined
}

const readOrigins = checked((text) => {
  const read = text
    .split(",")
    .map((part) => part.trim())
    .filter((part) => part !== "")
    .map(origin)
  return read.every((part) => part !== undefined) ? read : undefined
})

/** As browsers write them in `Origin`: a scheme, a host, a port if it is not the scheme's own, no path. None, if unset. */
export const origins = (name: string): Config.Config<ReadonlyArray<string>> => Config.withDefault(readOrigins(name), [])
