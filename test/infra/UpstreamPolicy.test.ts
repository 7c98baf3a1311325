// Which addresses may be reached, in every spelling; and that the socket connects to what was judged.
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Layer } from "effect"
import { Http } from "../../src/infra/Http.ts"
import { LocalHosts } from "../../src/infra/LocalHosts.ts"
import { UpstreamPolicy } from "../../src/infra/UpstreamPolicy.ts"
import { Settings } from "../../src/Settings.ts"

const policy = (env: { [name: string]: string } = {}) =>
  UpstreamPolicy.layer.pipe(
    Layer.provide(Settings.layer),
    Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown(env)))
  )

const judged = (addresses: ReadonlyArray<string>) =>
  Effect.map(UpstreamPolicy, ({ allows }) => addresses.filter((address) => allows(address)))

describe("UpstreamPolicy", () => {
  it.effect("denies link-local, metadata, multicast and unspecified addresses, also inside IPv6 ones", () =>
    Effect.gen(function* () {
      const denied = [
        "169.254.169.254",
        "::ffff:169.254.169.254",
        "::ffff:a9fe:a9fe",
        "::169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
        "::ffff:0:169.254.169.254",
        "2001:0:a9fe:a9fe::1",
        "255.255.255.255",
        "fe80::1",
        "fe80::1%eth0",
        "fd00:ec2::254",
        "100.100.100.200",
        "224.0.0.1",
        "ff02::1",
        "0.0.0.0",
        "::",
        "::ffff:0.0.0.0",
        "not an address"
      ]
      assert.deepEqual(yield* judged(denied), [])
      const fine = ["127.0.0.1", "::1", "10.0.0.1", "93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34"]
      assert.deepEqual(yield* judged(fine), fine)
    }).pipe(Effect.provide(policy()))
  )

  it.effect("makes exceptions", () =>
    Effect.gen(function* () {
      assert.deepEqual(yield* judged(["10.1.2.3", "10.1.2.4", "::ffff:10.1.2.3", "169.254.169.254"]), [
        "10.1.2.3",
        "::ffff:10.1.2.3",
        "169.254.169.254"
      ])
    }).pipe(Effect.provide(policy({ UPSTREAM_DENY: "10.0.0.0/8", UPSTREAM_ALLOW: "10.1.2.3/32" })))
  )

  it.live("connects to no denied address, by name or by number", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const hosts = ["127.0.0.1:9", "localhost:9", "[::1]:9", "2130706433:9", "0x7f.1:9", "[::ffff:127.0.0.1]:9"]
      for (const host of hosts) {
        const origin = new URL(`http://${host}`).origin
        const error = yield* Effect.flip(
          send({ origin, path: "/", method: "GET", headers: {}, body: undefined, timeoutMs: 2000, maxBytes: 100 })
        )
        assert.deepInclude(error, { _tag: "HttpUnreachable", reason: "address not allowed" }, host)
      }
    }).pipe(
      Effect.provide(
        Http.layer.pipe(
          Layer.provide(LocalHosts.layer),
          Layer.provide(policy({ UPSTREAM_DENY: "127.0.0.0/8,::1/128" }))
        )
      )
    )
  )
})
