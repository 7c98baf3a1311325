// The settings: each one's name, default, meaning, and what a wrong value should have been. README's table is generated
// from here; Settings.ts reads them.
import { Config, ConfigProvider, Duration, Effect, Redacted, Schema } from "effect"
import { IpNetwork } from "effect/net"
import { httpUrl, origins, postgresUrl, redisUrls } from "./SettingFormats.ts"

export interface Setting<A> {
  readonly config: (name: string) => Config.Config<A>
  readonly fallback: string | undefined
  readonly shown: string | undefined
  readonly meaning: string
  readonly wanted: string
  readonly secret: boolean
}

const setting = <A>(
  config: (name: string) => Config.Config<A>,
  fallback: string | undefined,
  meaning: string,
  wanted: string,
  more: { readonly secret?: boolean; readonly shown?: string } = {}
): Setting<A> => ({ config, fallback, meaning, wanted, secret: more.secret ?? false, shown: more.shown })

const text = (name: string) => Config.NonEmptyString(name)
/** `Infinity` and what is negative parse as well: a deadline that is none, an interval without a pause. */
const duration = (name: string) =>
  Config.mapEffect(Config.Duration(name), (read) =>
    Duration.isFinite(read) && Duration.toMillis(read) > 0
      ? Effect.succeed(read)
      : Effect.fail(
          new Config.ConfigError(new ConfigProvider.SourceError({ message: "not a duration above 0 that ends" }))
        )
  )
const list = (name: string) =>
  Config.String(name).pipe(
    Config.withDefault(""),
    Config.map((value) =>
      value
        .split(",")
        .map((part) => part.trim())
        .filter((part) => part !== "")
    )
  )
const count = (name: string) =>
  Config.schema(Schema.FiniteFromString.check(Schema.isInt(), Schema.isGreaterThan(0)), name)
const ratio = (name: string) =>
  Config.schema(Schema.FiniteFromString.check(Schema.isBetween({ minimum: 0, maximum: 1 })), name)
const matching = (pattern: RegExp) => (name: string) =>
  Config.map(Config.schema(Schema.String.check(Schema.isPattern(pattern)), name), (value) => Redacted.make(value))
const networks = (name: string) =>
  Config.mapEffect(list(name), (parts) =>
    Effect.forEach(parts, (part) => Effect.fromResult(IpNetwork.fromString(part))).pipe(
      Effect.mapError((cause) => new Config.ConfigError(new ConfigProvider.SourceError({ message: cause.message })))
    )
  )
const port = (name: string) =>
  Config.schema(Schema.FiniteFromString.check(Schema.isInt(), Schema.isBetween({ minimum: 0, maximum: 65_535 })), name)

const wholeNumber = "a whole number above 0"
const aDuration = "a duration above 0, such as 5 seconds"

export const settings = {
  HOST: setting(text, "127.0.0.1", "the address it listens on", "an address or a host name"),
  PORT: setting(port, "8080", "the port it listens on; 0 picks a free one and prints it", "a port, 0 to 65535"),
  DATABASE_URL: setting(
    postgresUrl,
    undefined,
    "PostgreSQL, `postgres://…`; unset: embedded",
    "postgres://user:password@host:5432/database",
    { secret: true }
  ),
  DATA_DIR: setting(text, "./data", "the embedded database's files; `memory://` keeps none", "a folder, or memory://"),
  REDIS_URL: setting(
    redisUrls,
    undefined,
    "Redis, `redis://…` or `rediss://…` (TLS); several, comma-separated: a Redis Cluster; unset: in-process",
    "redis://host:6379, with a number of a database behind it if need be; several: redis://a:6379,redis://b:6379",
    { secret: true }
  ),
  REDIS_PREFIX: setting(
    (name) => Config.schema(Schema.String.check(Schema.isPattern(/^[A-Za-z0-9._-]{1,64}$/)), name),
    "hotpath",
    "what keys and channels in Redis begin with: services that share a Redis need one each",
    "1 to 64 letters, digits, dots, underscores and hyphens"
  ),
  AUTH_SECRET: setting(
    matching(/^(?=.*\S).{32,}$/s),
    undefined,
    "HS256 secret of the clients' JWTs, 32 characters or more; unset: development, `?user=NAME`",
    "at least 32 random characters (a shorter one can be guessed from a token)",
    { secret: true }
  ),
  AUTH_JWKS_URL: setting(
    httpUrl,
    undefined,
    "where the keys of asymmetrically signed JWTs are",
    "an http or https URL, such as https://issuer.example/.well-known/jwks.json"
  ),
  AUTH_ISSUER: setting(
    list,
    "",
    "comma-separated: a token's `iss` must be one of them; unset: not checked",
    "https://issuer.example,…"
  ),
  AUTH_AUDIENCE: setting(
    list,
    "",
    "comma-separated: a token's `aud` must hold one of them; unset: not checked (warned of with `AUTH_JWKS_URL`)",
    "my-api,…"
  ),
  ADMIN_TOKEN: setting(
    matching(/^\S{16,}$/),
    undefined,
    "bearer token of `/admin`, 16 characters or more; unset: made at start, and printed in development and on a terminal",
    "at least 16 characters, no blanks",
    { secret: true }
  ),
  ALLOWED_ORIGINS: setting(
    origins,
    "",
    "comma-separated origins a browser may connect from, besides the same origin (in development: any loopback origin)",
    "scheme://host[:port], comma-separated, or *; such as https://app.example,http://localhost:5173"
  ),
  UPSTREAM_DENY: setting(
    networks,
    "",
    "address ranges (CIDR, comma-separated) that an integration may not reach, besides those that are always denied (the default)",
    "10.0.0.0/8,…",
    { shown: "link-local, metadata, multicast, unspecified" }
  ),
  UPSTREAM_ALLOW: setting(
    networks,
    "",
    "exceptions to UPSTREAM_DENY; to what is always denied, if they lie inside one of its ranges",
    "10.1.2.3/32,…"
  ),
  ROOM_WRITES: setting(
    (name: string) => Config.schema(Schema.Literals(["redis", "postgres"]), name),
    "redis",
    "who acknowledges messages and document updates where there is a Redis: `redis` (buffered there, and saved in batches), or `postgres`",
    "redis or postgres"
  ),
  FLUSH_INTERVAL: setting(duration, "5 seconds", "how long a buffered write may wait", aDuration),
  BUFFER_ENTRIES: setting(
    count,
    "200000",
    "documents and messages that may wait in Redis to be saved; beyond it writes are `BufferFull`",
    wholeNumber
  ),
  BUFFER_AGE: setting(
    duration,
    "1 hour",
    "how long the oldest of them may have waited (PostgreSQL being away) before writes are `BufferFull`",
    aDuration
  ),
  CATALOG_REFRESH: setting(duration, "10 seconds", "how often the catalog is re-read", aDuration),
  RECORD_QUEUE: setting(count, "10000", "the record queue's bound; beyond it a call is `Overloaded`", wholeNumber),
  RECORD_QUEUE_BYTES: setting(count, "67108864", "the record queue's bound in bytes, about", wholeNumber),
  RECORD_STREAM: setting(
    count,
    "200000",
    "how many records may wait in Redis; beyond it they go to Postgres, or are refused",
    wholeNumber
  ),
  RECORD_RETENTION_DAYS: setting(
    count,
    undefined,
    "days that records are kept, the current one included; unset: for ever",
    wholeNumber
  ),
  RECORD_WORKERS: setting(count, "5", "the record queue's writers", wholeNumber),
  LOG_FORMAT: setting(
    (name) => Config.Literals(["pretty", "json"], name),
    undefined,
    "`pretty` or `json`; unset: `pretty` on a terminal, else `json`",
    "pretty or json"
  ),
  LOG_LEVEL: setting(
    (name) => Config.Literals(["trace", "debug", "info", "warn", "error", "fatal", "none"], name),
    "info",
    "the least severe log level that is written",
    "trace, debug, info, warn, error, fatal or none"
  ),
  OTEL_EXPORTER_OTLP_ENDPOINT: setting(
    httpUrl,
    undefined,
    "where traces, metrics and logs are sent by OTLP (HTTP, JSON)",
    "an http or https URL, such as http://collector:4318"
  ),
  TRACE_SAMPLE_RATIO: setting(ratio, "0.05", "the share of requests that are traced", "a number from 0 to 1"),
  TRACE_CLIENT_RATE: setting(
    count,
    "10",
    "traces per second that clients may ask for (`_meta.traceparent`, sampled), all together; beyond it they get none",
    wholeNumber
  ),
  MAX_FRAME_BYTES: setting(count, "65536", "a frame; beyond it close 1009", wholeNumber),
  MAX_FRAGMENTS: setting(count, "256", "fragments of one message; beyond it close 1008", wholeNumber),
  MAX_IN_FLIGHT: setting(count, "16", "requests in flight per connection; beyond it its socket is paused", wholeNumber),
  REQUEST_RATE: setting(
    count,
    "50",
    "requests per second and connection; beyond it `RateLimited`, and what goes on is not read",
    wholeNumber
  ),
  REQUEST_BURST: setting(count, "100", "requests a connection may send at once; also the longest batch", wholeNumber),
  USER_CONNECTIONS: setting(
    count,
    "50",
    "open connections of one user, over all instances; beyond it the upgrade is answered 429",
    wholeNumber
  ),
  USER_RATE: setting(
    count,
    "200",
    "requests per second of one user, and at once, over all connections and instances; beyond it `RateLimited`",
    wholeNumber
  ),
  USER_CALL_SHARE: setting(
    ratio,
    "0.25",
    "the share of an integration's places, in flight and waiting, that one user has by right; twice as many in flight while half of all are free",
    "a number from 0 to 1"
  ),
  USER_MODEL_RATE: setting(
    count,
    "120",
    "requests to models (generate, coach, auto-assign) per minute of one user, over all instances; beyond it `RateLimited`",
    wholeNumber
  ),
  USER_ROOMS_PER_DAY: setting(
    count,
    "1000",
    "rooms that one user may make in a day, over all instances; beyond it `RateLimited`",
    wholeNumber
  ),
  USER_BYTES_PER_DAY: setting(
    count,
    "268435456",
    "bytes that one user may write into rooms (messages, documents, prompts) in a day, over all instances; beyond it `RateLimited`",
    wholeNumber
  ),
  MAX_OUTBOUND_BYTES: setting(
    count,
    "1048576",
    "bytes waiting for a client that does not read; beyond it close 1013. Also the largest reply",
    wholeNumber
  ),
  MAX_WAITING_CALLS: setting(
    count,
    "1000",
    "calls waiting for a slot of one integration; beyond it `Overloaded`",
    wholeNumber
  ),
  MAX_ANSWER_BYTES: setting(
    count,
    "1048576",
    "an integration's answer; beyond it `IntegrationInvalidResponse`",
    wholeNumber
  ),
  MAX_GENERATIONS: setting(
    count,
    "100",
    "generations at once, an eighth of them by one user; beyond it `Overloaded`",
    wholeNumber
  ),
  MAX_ANALYSES: setting(
    count,
    "100",
    "drafts being analysed at once, an eighth of them for one user; beyond it `Overloaded`",
    wholeNumber
  ),
  ASSIGN_QUEUE: setting(
    count,
    "1000",
    "messages waiting to be assigned to threads; beyond it they stay without one",
    wholeNumber
  ),
  ASSIGN_RATE: setting(
    count,
    "60",
    "messages assigned per minute and room; beyond it they stay as they are",
    wholeNumber
  ),
  MAX_JSON_DEPTH: setting(count, "64", "nesting of a frame's JSON; beyond it −32600", wholeNumber),
  MAX_CONNECTIONS: setting(count, "20000", "open sockets; beyond it the upgrade is answered 503", wholeNumber),
  MAX_HTTP_CONNECTIONS: setting(
    count,
    "5000",
    "TCP connections that are no WebSocket (yet); beyond it the one that has waited longest for a request is closed",
    wholeNumber
  ),
  MAX_ROOMS: setting(count, "100", "rooms a connection may be in", wholeNumber),
  MAX_INVITES: setting(count, "100", "invites a member keeps in a room; beyond it `TooManyInvites`", wholeNumber),
  PING_INTERVAL: setting(duration, "25 seconds", "how often a connection is pinged", aDuration),
  PONG_TIMEOUT: setting(duration, "10 seconds", "how long a pong may take before the connection is ended", aDuration),
  SHUTDOWN_DEADLINE: setting(duration, "25 seconds", "how long a graceful shutdown may take", aDuration),
  REDIS_TIMEOUT: setting(duration, "500 millis", "the deadline of one Redis command", aDuration),
  DATABASE_TIMEOUT: setting(duration, "5 seconds", "the deadline of one SQL statement", aDuration)
}
