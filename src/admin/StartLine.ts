// The first lines of a start, before anything slow: what starts, over which stores, who may come in; and names in the
// environment that are no setting but look like one.
import { Effect, Layer, Redacted } from "effect"
import { withoutSecrets } from "../infra/StoreFault.ts"
import { version } from "../observability/Build.ts"
import { isDevelopment, Settings } from "../Settings.ts"
import { settings as known } from "../settings/SettingList.ts"
import { misspelt } from "../settings/SettingNames.ts"

// Without one of these it is another service than was meant.
const consequences: Readonly<Record<string, string>> = {
  ADMIN_TOKEN: "ADMIN_TOKEN is not set: the token of /admin is another one",
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
      auth: isDevelopment(settings) ? "development: anyone may say who they are (?user=NAME)" : auth(settings)
    })
    for (const { meant, name } of misspelt(Object.keys(process.env), Object.keys(known))) {
      const isSet = Object.entries(settings).some(([setting, value]) => setting === meant && value !== undefined)
      const consequence = isSet ? undefined : consequences[meant]
      yield* Effect.logWarning(`${name} is no setting and has no effect. Was ${meant} meant?`, {
        name,
        meant,
        ...(consequence !== undefined && { consequence })
      })
    }
  })
)
