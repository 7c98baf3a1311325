// Settings are read whole: every fault is named at once, secrets are not shown, and names that look like a setting are found.
import { ConfigProvider, Effect, Layer } from "effect"
import { assert, describe, it } from "vitest"
import { Settings } from "../src/Settings.ts"
import { settings } from "../src/settings/SettingList.ts"
import { misspelt } from "../src/settings/SettingNames.ts"

const read = (env: Readonly<Record<string, string>>) =>
  Effect.runPromise(
    Effect.match(
      Effect.scoped(
        Layer.build(Settings.layer).pipe(
          Effect.flatMap((context) => Effect.provide(Settings, context)),
          Effect.provide(ConfigProvider.layer(ConfigProvider.fromUnknown(env)))
        )
      ),
      { onSuccess: (values) => ({ values, faults: [] }), onFailure: ({ faults }) => ({ values: undefined, faults }) }
    )
  )
const refused = async (env: Readonly<Record<string, string>>) => (await read(env)).faults.map(({ setting }) => setting)

describe("settings", () => {
  it("names all faults at once, without secrets", async () => {
    const { faults } = await read({
      PORT: "x",
      DATABASE_URL: "mysql://u:PASSWORD@h/x",
      REDIS_URL: "redis://:PASSWORD@h/abc",
      AUTH_SECRET: "PASSWORD",
      OTEL_EXPORTER_OTLP_ENDPOINT: "ftp://u:PASSWORD@collector",
      MAX_ROOMS: "-1"
    })
    assert.sameMembers(
      faults.map(({ setting }) => setting),
      ["PORT", "DATABASE_URL", "REDIS_URL", "AUTH_SECRET", "OTEL_EXPORTER_OTLP_ENDPOINT", "MAX_ROOMS"]
    )
    assert.notInclude(JSON.stringify(faults), "PASSWORD")
    assert.deepInclude(faults, { setting: "MAX_ROOMS", value: '"-1"', wanted: "a whole number above 0" })
  })

  it("takes durations that end, and are longer than nothing", async () => {
    for (const wrong of ["-5 seconds", "0 seconds", "Infinity", "-Infinity"]) {
      assert.sameMembers(await refused({ FLUSH_INTERVAL: wrong, SHUTDOWN_DEADLINE: wrong }), [
        "FLUSH_INTERVAL",
        "SHUTDOWN_DEADLINE"
      ])
    }
    assert.deepEqual(await refused({ FLUSH_INTERVAL: "50 millis" }), [])
  })

  it("does not take a secret that is blank", async () => {
    assert.deepEqual(await refused({ AUTH_SECRET: " ".repeat(40) }), ["AUTH_SECRET"])
    assert.deepEqual(await refused({ AUTH_SECRET: `${" ".repeat(40)}x` }), [])
  })

  it("does not take a URL without a scheme for one", async () => {
    assert.deepEqual(await refused({ OTEL_EXPORTER_OTLP_ENDPOINT: "collector:4318" }), ["OTEL_EXPORTER_OTLP_ENDPOINT"])
    assert.deepEqual(await refused({ AUTH_JWKS_URL: "issuer.example:443/jwks" }), ["AUTH_JWKS_URL"])
    assert.deepEqual(await refused({ OTEL_EXPORTER_OTLP_ENDPOINT: "http://collector:4318" }), [])
  })

  it("takes origins as browsers write them", async () => {
    for (const wrong of ["app.example", "https://app.example/path", "https://*.example", "https://a, b"]) {
      assert.deepEqual(await refused({ ALLOWED_ORIGINS: wrong }), ["ALLOWED_ORIGINS"], wrong)
    }
    const { values } = await read({
      ALLOWED_ORIGINS: "https://App.example/, http://localhost:5173,capacitor://localhost"
    })
    assert.deepEqual(values?.ALLOWED_ORIGINS, ["https://app.example", "http://localhost:5173", "capacitor://localhost"])
    assert.deepEqual((await read({ ALLOWED_ORIGINS: "*" })).values?.ALLOWED_ORIGINS, ["*"])
    assert.deepEqual((await read({})).values?.ALLOWED_ORIGINS, [])
  })

  it("refuses an address that others reach where anyone may say who they are", async () => {
    assert.deepEqual(await refused({ HOST: "0.0.0.0" }), ["HOST"])
    assert.deepEqual(await refused({ HOST: "0.0.0.0", AUTH_SECRET: "a secret of many characters, 32 and more" }), [])
    assert.deepEqual(await refused({ HOST: "0.0.0.0", PORT: "-1" }), ["PORT", "HOST"])
  })

  it("finds names that look like a setting", () => {
    const found = (name: string) => misspelt([name], Object.keys(settings))[0]?.meant
    assert.strictEqual(found("DATABSE_URL"), "DATABASE_URL")
    assert.strictEqual(found("REDIS_ULR"), "REDIS_URL")
    assert.strictEqual(found("AUTH_SECRETT"), "AUTH_SECRET")
    assert.strictEqual(found("redis_url"), "REDIS_URL")
    assert.strictEqual(found("MAX_CONECTIONS"), "MAX_CONNECTIONS")
    assert.strictEqual(found("PROT"), "PORT")
    assert.strictEqual(found("INTEGRATION_SECRTE_X"), "INTEGRATION_SECRET_…")
    for (const other of [
      "PATH",
      "HOME",
      "HOSTNAME",
      "USER",
      "EDITOR",
      "npm_config_loglevel",
      "INTEGRATION_SECRET_KEY",
      "REDIS_PORT_6379_TCP_ADDR",
      "DATABASE_SERVICE_HOST",
      "OTEL_SERVICE_NAME",
      "TEST_REDIS_URL"
    ]) {
      assert.isUndefined(found(other), other)
    }
  })
})
