// The first log lines, before anything slow: version, stores and authentication; and a warning for each name in the
// environment that looks like a misspelt setting.
import { Effect, Layer, Redacted } from "effect"
import { withoutSecrets } from "../infra/StoreFault.ts"
import { version } from "../observability/Build.ts"
import { isDevelopment, Settings } from "../Settings.ts"
import { settings as known } from "../settings/SettingList.ts"
import { misspelt } from "../settings/SettingNames.ts"

// Without one of these settings a different service starts than was intended.
const consequences: Readonly<Record<string, string>> = {
  ADMIN_TOKEN: "ADMIN_TOKEN is not set: /admin has a generated token",
  AUTH_JWKS_URL: "AUTH_JWKS_URL is not set: tokens are not checked with its keys",
  AUTH_SECRET: "AUTH_SECRET is not set: tokens are not checked with it",
  DATABASE_URL: "DATABASE_URL is not set: data goes to the embedded database",
  REDIS_URL: "REDIS_URL is not set: nothing is shared with other instances"
}

const auth = ({ AUTH_JWKS_URL, AUTH_SECRET }: Settings["Service"]) =>
  [AUTH_SECRET !== undefined && "AUTH_SECRET", AUTH_JWKS_URL !== undefined && "AUTH_JWKS_URL"]
    .filter((name) => name !== false)
    .join(" and ")

const urls = (given: Redacted.Redacted) => withoutSecrets(Redacted.value(given))

export const layer = Layer.effectDiscard(
  Effect.gen(function* () {
    const settings = yield* Settings
    const { DATABASE_URL, DATA_DIR, REDIS_URL } = settings
    yield* Effect.logInfo("starting", {
      version,
      node: process.version,
      postgres: DATABASE_URL === undefined ? `embedded (${DATA_DIR})` : urls(DATABASE_URL),
      redis: REDIS_URL === undefined ? "in-process" : urls(REDIS_URL),
      auth: isDevelopment(settings) ? "development: clients name themselves (?user=NAME)" : auth(settings)
    })
    for (const { meant, name } of misspelt(Object.keys(process.env), Object.keys(known))) {
      const isSet = Object.entries(settings).some(([setting, value]) => setting === meant && value !== undefined)
      const consequence = isSet ? undefined : consequences[meant]
      yield* Effect.logWarning(`${name} is not a setting and has no effect. Did you mean ${meant}?`, {
        name,
        meant,
        ...(consequence !== undefined && { consequence })
      })
    }
  })
)
