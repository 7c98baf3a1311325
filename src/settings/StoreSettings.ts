// Postgres and Redis: where they are, and the deadlines of their commands.
import { aDuration, duration, matching, optional, postgresUrl, redisUrls, setting, text } from "./Setting.ts"

export const storeSettings = {
  DATABASE_URL: optional(
    postgresUrl,
    "PostgreSQL, `postgres://…`; unset: embedded",
    "postgres://user:password@host:5432/database",
    { secret: true }
  ),
  DATA_DIR: setting(text, "./data", "the embedded database's files; `memory://` keeps none", "a folder, or memory://"),
  DATABASE_TIMEOUT: setting(duration, "5 seconds", "the deadline of one SQL statement", aDuration),
  REDIS_URL: optional(
    redisUrls,
    "Redis, `redis://…` or `rediss://…` (TLS); several, comma-separated: a Redis Cluster; unset: in-process",
    "redis://host:6379, optionally followed by /DATABASE-NUMBER; several: redis://a:6379,redis://b:6379",
    { secret: true }
  ),
  REDIS_PREFIX: setting(
    matching(/^[A-Za-z0-9._-]{1,64}$/),
    "hotpath",
    "prefix of all keys and channels in Redis; services that share a Redis need different ones",
    "1 to 64 letters, digits, dots, underscores and hyphens"
  ),
  REDIS_TIMEOUT: setting(duration, "500 millis", "the deadline of one Redis command", aDuration)
}
