// A user's configuration: whatever JSON object the integrations are to be told about that user.
import { Schema } from "effect"

export const ConfigObject = Schema.Record(Schema.String, Schema.Json)

export interface UserConfig {
  readonly version: number
  readonly config: typeof ConfigObject.Type
  /** The same as JSON text, so that it isn't encoded once per call. */
  readonly text: string
}

export const makeUserConfig = (version: number, config: typeof ConfigObject.Type): UserConfig => ({
  version,
  config,
  text: JSON.stringify(config)
})

/** What a user without a configuration has. */
export const noConfig: UserConfig = makeUserConfig(0, {})

/** Neither memory, Redis nor Postgres could say what the configuration (or the integration) is. */
export class ConfigUnavailable extends Schema.TaggedError<ConfigUnavailable>()("ConfigUnavailable", {
  reason: Schema.String
}) {}
