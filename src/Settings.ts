// Every setting (settings/SettingList.ts), read once from the environment, before anything is opened.
import { Config, Context, Effect, Layer, Option, Schema } from "effect"
import type { Setting } from "./settings/Setting.ts"
import { settings } from "./settings/SettingList.ts"

/** An invalid setting. `value` is `<hidden>` for secrets. */
const Fault = Schema.Struct({ setting: Schema.String, value: Schema.String, wanted: Schema.String })

/** Invalid settings stop the start. All of them are named at once. */
export class SettingsInvalid extends Schema.TaggedError<SettingsInvalid>()("SettingsInvalid", {
  faults: Schema.Array(Fault)
}) {
  override get message() {
    return this.faults
      .map(({ setting, value, wanted }) => `${setting}=${value} is not usable. Wanted: ${wanted}`)
      .join("\n  ")
  }
}

export type SettingsShape = {
  readonly [Name in keyof typeof settings]: (typeof settings)[Name] extends Setting<infer A> ? A : never
}

const hidden = "<hidden>"

// A URL may hold a password, whatever the setting.
const shown = (raw: string, isSecret = false) =>
  isSecret ? hidden : JSON.stringify(raw.replace(/\/\/[^/@]*@/, `//${hidden}@`))

const readSetting = Effect.fnUntraced(function* ([name, definition]: readonly [string, Setting<unknown>]) {
  const given = Option.getOrUndefined(yield* Effect.orElseSucceed(Config.option(Config.String(name)), Option.none))
  const raw = given === undefined || given === "" ? definition.fallback : given
  if (raw === undefined) return [name, undefined] as const
  const value = definition.read(raw)
  if (value !== undefined) return [name, value] as const
  return yield* Effect.fail({ setting: name, value: shown(raw, definition.secret), wanted: definition.wanted })
})

const loopback = /^(127(\.\d+){3}|::1|\[::1\]|localhost)$/

/** Whether only this machine reaches a server that listens on `host`. */
export const isLoopback = (host: string): boolean => loopback.test(host)

/** Rules between settings. */
const together = ({ AUTH_JWKS_URL, AUTH_SECRET, HOST }: Partial<SettingsShape>): ReadonlyArray<typeof Fault.Type> => {
  if (AUTH_SECRET !== undefined || AUTH_JWKS_URL !== undefined || HOST === undefined || isLoopback(HOST)) return []
  const wanted =
    "127.0.0.1, or AUTH_SECRET (AUTH_JWKS_URL) set: without them anyone may say who they are, and HOST is not loopback"
  return [{ setting: "HOST", value: JSON.stringify(HOST), wanted }]
}

export class Settings extends Context.Service<Settings, SettingsShape>()("hotpath/Settings") {
  /** Reads all settings; fails with every invalid one. */
  static readonly layer = Layer.effect(
    Settings,
    Effect.gen(function* () {
      const [read, faults] = yield* Effect.partition(Object.entries(settings), readSetting)
      const values = Object.fromEntries(read)
      const hasAuthFault = faults.some(({ setting }) => setting.startsWith("AUTH_"))
      const all = [...faults, ...(hasAuthFault ? [] : together(values as Partial<SettingsShape>))]
      if (all.length > 0) return yield* new SettingsInvalid({ faults: all })
      return Settings.of(values as SettingsShape)
    })
  )
}

/** Without a key to check tokens with, clients name themselves (`?user=NAME`). */
export const isDevelopment = ({ AUTH_JWKS_URL, AUTH_SECRET }: Pick<SettingsShape, "AUTH_JWKS_URL" | "AUTH_SECRET">) =>
  AUTH_SECRET === undefined && AUTH_JWKS_URL === undefined
