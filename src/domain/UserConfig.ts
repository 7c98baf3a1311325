// A user's configuration: a JSON object that integrations get with each call of the user.
import { Schema } from "effect"

export const ConfigObject = Schema.Record(Schema.String, Schema.Json)

export interface UserConfig {
  readonly version: number
  readonly config: typeof ConfigObject.Type
  /** The same as JSON text, encoded once and not once per call. */
  readonly text: string
}

export const makeUserConfig = (version: number, config: typeof ConfigObject.Type): UserConfig => ({
  version,
  config,
  text: JSON.stringify(config)
})

/** The configuration of a user who has none stored. */
export const noConfig: UserConfig = makeUserConfig(0, {})

/** The configuration (or the integration) could be read neither from memory nor from Redis or Postgres. */
export class ConfigUnavailable extends Schema.TaggedError<ConfigUnavailable>()("ConfigUnavailable", {
  reason: Schema.String
}) {}
