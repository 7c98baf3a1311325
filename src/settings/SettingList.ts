// All settings, by feature. Documentation's table of settings is generated from here; Settings.ts reads them.
import { assistantSettings } from "./AssistantSettings.ts"
import { authSettings } from "./AuthSettings.ts"
import { callSettings } from "./CallSettings.ts"
import { limitSettings } from "./LimitSettings.ts"
import { recordSettings } from "./RecordSettings.ts"
import { roomSettings } from "./RoomSettings.ts"
import { serverSettings } from "./ServerSettings.ts"
import type { Setting } from "./Setting.ts"
import { storeSettings } from "./StoreSettings.ts"
import { telemetrySettings } from "./TelemetrySettings.ts"

export const settings = {
  ...serverSettings,
  ...storeSettings,
  ...authSettings,
  ...callSettings,
  ...recordSettings,
  ...roomSettings,
  ...assistantSettings,
  ...limitSettings,
  ...telemetrySettings
}

/** The values of a feature's settings. */
export type Values<Definitions> = {
  readonly [Name in keyof Definitions]: Definitions[Name] extends Setting<infer A> ? A : never
}
