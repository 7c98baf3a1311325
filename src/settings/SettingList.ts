// All settings, by feature. Documentation's table of settings is generated from here; Settings.ts reads them.
import {
  count,
  duration,
  httpUrl,
  list,
  matching,
  networks,
  oneOf,
  optional,
  origins,
  port,
  postgresUrl,
  ratio,
  redisUrls,
  secret,
  setting,
  text
} from "./Setting.ts"

/** Where it listens, what a socket may do, how it stops. */
const server = {
  HOST: setting(text("an address or a host name"), "127.0.0.1", "the address it listens on"),
  PORT: setting(port, "8080", "the port it listens on; 0 picks a free one and prints it"),
  ALLOWED_ORIGINS: setting(
    origins,
    "",
    "comma-separated origins a browser may connect from, besides the same origin (in development: any loopback origin)"
  ),
  MAX_CONNECTIONS: setting(count, "20000", "open sockets; beyond it the upgrade is answered 503"),
  MAX_HTTP_CONNECTIONS: setting(
    count,
    "5000",
    "TCP connections that are not (yet) a WebSocket; beyond it the one that has waited longest for a request is closed"
  ),
  PING_INTERVAL: setting(duration, "25 seconds", "how often a connection is pinged"),
  PONG_TIMEOUT: setting(duration, "10 seconds", "how long a pong may take before the connection is terminated"),
  SHUTDOWN_DEADLINE: setting(duration, "25 seconds", "how long a graceful shutdown may take")
}

/** Postgres and Redis: where they are, and the deadlines of their commands. */
const stores = {
  DATABASE_URL: optional(postgresUrl, "PostgreSQL, `postgres://…`; unset: embedded"),
  DATA_DIR: setting(text("a folder, or memory://"), "./data", "the embedded database's files; `memory://` keeps none"),
  DATABASE_TIMEOUT: setting(duration, "5 seconds", "the deadline of one SQL statement"),
  REDIS_URL: optional(
    redisUrls,
    "Redis, `redis://…` or `rediss://…` (TLS); several, comma-separated: a Redis Cluster; unset: in-process"
  ),
  REDIS_PREFIX: setting(
    matching(/^[A-Za-z0-9._-]{1,64}$/, "1 to 64 letters, digits, dots, underscores and hyphens"),
    "hotpath",
    "prefix of all keys and channels in Redis; services that share a Redis need different ones"
  ),
  REDIS_TIMEOUT: setting(duration, "500 millis", "the deadline of one Redis command")
}

/** Who may connect, and who administers. */
const auth = {
  AUTH_SECRET: optional(
    secret(/^(?=.*\S).{32,}$/s, "at least 32 random characters (a shorter one can be guessed from a token)"),
    "HS256 secret of the clients' JWTs, 32 characters or more; unset: development, `?user=NAME`"
  ),
  AUTH_JWKS_URL: optional(
    httpUrl("https://issuer.example/.well-known/jwks.json"),
    "URL of the key set (JWKS) of asymmetrically signed JWTs"
  ),
  AUTH_ISSUER: setting(
    list("https://issuer.example,…"),
    "",
    "comma-separated: a token's `iss` must be one of them; unset: not checked"
  ),
  AUTH_AUDIENCE: setting(
    list("my-api,…"),
    "",
    "comma-separated: a token's `aud` must hold one of them; unset: not checked (warned of with `AUTH_JWKS_URL`)"
  ),
  ADMIN_TOKEN: optional(
    secret(/^\S{16,}$/, "at least 16 characters, no blanks"),
    "bearer token of `/admin`, 16 characters or more; unset: generated at start, and printed in development and on a terminal"
  )
}

/** Calls of integrations and the catalog they come from. */
const calls = {
  UPSTREAM_DENY: setting(
    networks("10.0.0.0/8,…"),
    "",
    "address ranges (CIDR, comma-separated) that an integration may not reach, besides those that are always denied (the default)",
    "link-local, metadata, multicast, unspecified"
  ),
  UPSTREAM_ALLOW: setting(
    networks("10.1.2.3/32,…"),
    "",
    "exceptions to UPSTREAM_DENY, and to the ranges that are always denied if they lie inside one of those"
  ),
  CATALOG_REFRESH: setting(duration, "10 seconds", "how often the catalog is re-read"),
  MAX_WAITING_CALLS: setting(count, "1000", "calls waiting for a slot of one integration; beyond it `Overloaded`"),
  MAX_ANSWER_BYTES: setting(count, "1048576", "an integration's answer; beyond it `IntegrationInvalidResponse`"),
  USER_CALL_SHARE: setting(
    ratio,
    "0.25",
    "the share of an integration's slots, in flight and waiting, that one user may take; twice as many in flight while half of all are free"
  )
}

/** Call records on their way to Postgres. */
const records = {
  RECORD_QUEUE: setting(
    count,
    "10000",
    "calls whose record is not stored yet; beyond it a call fails with `Overloaded`"
  ),
  RECORD_QUEUE_BYTES: setting(count, "67108864", "the same bound in bytes, approximately"),
  RECORD_STREAM: setting(
    count,
    "200000",
    "records that may wait in Redis; beyond it they go to PostgreSQL directly, or the call is refused"
  ),
  RECORD_RETENTION_DAYS: optional(count, "days that records are kept, including the current one; unset: forever"),
  RECORD_WORKERS: setting(count, "5", "writers of the record queue")
}

/** Rooms and their write buffer. */
const rooms = {
  ROOM_WRITES: setting(
    oneOf("redis", "postgres"),
    "redis",
    "which store acknowledges messages and document updates when `REDIS_URL` is set: `redis` (the write buffer, flushed in batches) or `postgres`"
  ),
  FLUSH_INTERVAL: setting(duration, "5 seconds", "how long a buffered write may wait for its flush"),
  BUFFER_ENTRIES: setting(
    count,
    "200000",
    "documents and messages that may wait in Redis for the flush; beyond it writes fail with `BufferFull`"
  ),
  BUFFER_AGE: setting(
    duration,
    "1 hour",
    "how long the oldest of them may wait (while PostgreSQL is away) before writes fail with `BufferFull`"
  ),
  MAX_ROOMS: setting(count, "100", "rooms that a connection may be in; beyond it `TooManyRooms`"),
  MAX_INVITES: setting(count, "100", "invites a member keeps in a room; beyond it `TooManyInvites`")
}

/** Generations, analyses, auto-assign. */
const assistant = {
  MAX_GENERATIONS: setting(count, "100", "generations at once, an eighth of them by one user; beyond it `Overloaded`"),
  MAX_ANALYSES: setting(count, "100", "drafts analysed at once, an eighth of them by one user; beyond it `Overloaded`"),
  ASSIGN_QUEUE: setting(count, "1000", "messages waiting to be assigned to a thread; beyond it they stay unassigned"),
  ASSIGN_RATE: setting(count, "60", "messages assigned to threads per minute and room; beyond it they stay unassigned")
}

/** What one connection and one user may do. */
const limits = {
  MAX_FRAME_BYTES: setting(count, "65536", "a frame; beyond it close 1009"),
  MAX_FRAGMENTS: setting(count, "256", "fragments of one message; beyond it close 1008"),
  MAX_JSON_DEPTH: setting(count, "64", "nesting of a frame's JSON; beyond it −32600"),
  MAX_IN_FLIGHT: setting(count, "16", "requests in flight per connection; beyond it its socket is paused"),
  MAX_OUTBOUND_BYTES: setting(
    count,
    "1048576",
    "bytes that may wait for a client that does not read; beyond it close 1013. Also the largest reply"
  ),
  REQUEST_RATE: setting(
    count,
    "50",
    "requests per second and connection; beyond it `RateLimited`, and a connection that goes on is not read"
  ),
  REQUEST_BURST: setting(count, "100", "requests a connection may send at once; also the longest batch"),
  USER_CONNECTIONS: setting(
    count,
    "50",
    "open connections of one user, over all instances; beyond it the upgrade is answered 429"
  ),
  USER_RATE: setting(
    count,
    "200",
    "requests per second of one user, and at once, over all connections and instances; beyond it `RateLimited`"
  ),
  USER_MODEL_RATE: setting(
    count,
    "120",
    "requests to models (generate, coach, auto-assign) per minute of one user, over all instances; beyond it `RateLimited`"
  ),
  USER_ROOMS_PER_DAY: setting(
    count,
    "1000",
    "rooms that one user may create in a day, over all instances; beyond it `RateLimited`"
  ),
  USER_BYTES_PER_DAY: setting(
    count,
    "268435456",
    "bytes that one user may write into rooms (messages, documents, prompts) in a day, over all instances; beyond it `RateLimited`"
  )
}

/** Logs and traces. */
const telemetry = {
  LOG_FORMAT: optional(oneOf("pretty", "json"), "`pretty` or `json`; unset: `pretty` on a terminal, else `json`"),
  LOG_LEVEL: setting(
    oneOf("trace", "debug", "info", "warn", "error", "fatal", "none"),
    "info",
    "the least severe level that is logged"
  ),
  OTEL_EXPORTER_OTLP_ENDPOINT: optional(
    httpUrl("http://collector:4318"),
    "where traces, metrics and logs are sent by OTLP (HTTP, JSON)"
  ),
  TRACE_SAMPLE_RATIO: setting(ratio, "0.05", "the share of requests that are traced"),
  TRACE_CLIENT_RATE: setting(
    count,
    "10",
    "traces per second that all clients together may request (`_meta.traceparent`, sampled); beyond it requests are not traced"
  )
}

export const settings = {
  ...server,
  ...stores,
  ...auth,
  ...calls,
  ...records,
  ...rooms,
  ...assistant,
  ...limits,
  ...telemetry
}
