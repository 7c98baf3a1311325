// Which addresses may be reached, in every spelling and wrapping; and that the socket connects to what was judged.
import { networkInterfaces } from "node:os"
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Layer, Schema } from "effect"
import { IpNetwork } from "effect/net"
import { EgressPolicy, makeAllows } from "../../../src/infra/http/EgressPolicy.ts"
import { Http } from "../../../src/infra/http/Http.ts"
import { LocalHosts } from "../../../src/infra/http/LocalHosts.ts"
import { Settings } from "../../../src/Settings.ts"

const policy = (env: { [name: string]: string } = {}) =>
  EgressPolicy.layer.pipe(
    Layer.provide(Settings.layer),
    Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown(env)))
  )

const judged = (addresses: ReadonlyArray<string>) =>
  Effect.map(EgressPolicy, ({ allows }) => addresses.filter((address) => allows(address)))

const networks = (list: string) => list.split(",").filter(Boolean).map(IpNetwork.fromStringUnsafe)
const allowsWith = (deny: string, allow = "", own: ReadonlyArray<string> = []) =>
  makeAllows(networks(deny), networks(allow), () => own)

const always = [
  "169.254.169.254",
  "fe80::1",
  "fe80::1%eth0",
  "224.0.0.1",
  "ff02::1",
  "255.255.255.255",
  "0.0.0.0",
  "0.1.2.3",
  "::",
  "fd00:ec2::254",
  "fd00:ec2::23",
  "fd20:ce::254",
  "168.63.129.16",
  "192.0.0.192",
  "fd00:c1::a9fe:a9fe",
  "100.100.100.200",
  "fd00:42::42"
]

type Four = readonly [number, number, number, number]

const hex = (high: number, low: number) => ((high << 8) | low).toString(16)
/** Every way to write an IPv4 address into an IPv6 one, beside some other bytes where those are free. */
const wrappings: Readonly<Record<string, (of: Four, free: number) => string>> = {
  mapped: ([a, b, c, d]) => `::ffff:${a}.${b}.${c}.${d}`,
  "mapped in hexadecimal": ([a, b, c, d]) => `0:0:0:0:0:ffff:${hex(a, b)}:${hex(c, d)}`,
  translated: ([a, b, c, d]) => `::ffff:0:${a}.${b}.${c}.${d}`,
  compatible: ([a, b, c, d]) => `::${a}.${b}.${c}.${d}`,
  NAT64: ([a, b, c, d]) => `64:ff9b::${hex(a, b)}:${hex(c, d)}`,
  "local NAT64, /48": ([a, b, c, d], free) => `64:ff9b:1:${hex(a, b)}:${hex(0, c)}:${hex(d, 0)}:0:${free.toString(16)}`,
  "local NAT64, /56": ([a, b, c, d]) => `64:ff9b:1:${hex(7, a)}:${hex(0, b)}:${hex(c, d)}:0:0`,
  "local NAT64, /64": ([a, b, c, d]) => `64:ff9b:1:7:${hex(0, a)}:${hex(b, c)}:${hex(d, 0)}:0`,
  "local NAT64, /96": ([a, b, c, d]) => `64:ff9b:1::${a}.${b}.${c}.${d}`,
  "6to4": ([a, b, c, d], free) => `2002:${hex(a, b)}:${hex(c, d)}::${free.toString(16)}`,
  "Teredo, the client": ([a, b, c, d], free) =>
    `2001:0:5db8:d822:0:${free.toString(16)}:${hex(a ^ 255, b ^ 255)}:${hex(c ^ 255, d ^ 255)}`,
  "Teredo, the server": ([a, b, c, d], free) => `2001:0:${hex(a, b)}:${hex(c, d)}:0:0:a247:27${hex(0, free & 15)}d`,
  ISATAP: ([a, b, c, d], free) => `fd00::${free.toString(16)}:0:5efe:${a}.${b}.${c}.${d}`,
  "ISATAP, a global address": ([a, b, c, d]) => `2606:2800::200:5efe:${a}.${b}.${c}.${d}`
}

const byte = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 255 }))
const free = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 0xffff }))

describe("UpstreamPolicy", () => {
  const settings = ["", "10.0.0.0/8", "127.0.0.0/8,::1/128", "0.0.0.0/0,::/0"]
  it.effect.each(settings)("always denies unspecified, link-local, multicast, metadata (UPSTREAM_DENY=%s)", (deny) =>
    Effect.gen(function* () {
      assert.deepEqual(yield* judged([...always, "not an address", ""]), [])
    }).pipe(Effect.provide(policy({ UPSTREAM_DENY: deny })))
  )

  it.each(["127.0.0.1/32", "::1/128"])("denies all of loopback where one address of it is denied (%s)", (deny) => {
    const allows = allowsWith(deny)
    const reached = ["127.0.0.1", "127.0.0.2", "127.255.255.254", "::1", "::ffff:127.0.0.2", "64:ff9b::127.1.2.3"]
    assert.deepEqual(reached.filter(allows), [])
    assert.isTrue(allows("10.0.0.1"))
    const but = allowsWith(deny, "127.0.0.2/32")
    assert.deepEqual(["127.0.0.1", "127.0.0.2", "127.0.0.3"].filter(but), ["127.0.0.2"])
  })

  it.effect("lets the rest through by default", () =>
    Effect.gen(function* () {
      const fine = [
        "127.0.0.1",
        "::1",
        "10.0.0.1",
        "93.184.216.34",
        "2606:2800:220:1::1",
        "fd00::1",
        "::ffff:93.184.216.34",
        "64:ff9b::93.184.216.34",
        "64:ff9b:1::93.184.216.34",
        "64:ff9b:1:5db8:d8:2200::"
      ]
      assert.deepEqual(yield* judged(fine), fine)
    }).pipe(Effect.provide(policy()))
  )

  it.effect.prop("denies what carries a denied address, in whichever way", [byte, byte, byte, byte, free], (values) =>
    Effect.sync(() => {
      const [a, b, c, d, other] = values
      const denies: ReadonlyArray<readonly [(text: string) => boolean, Four]> = [
        [allowsWith("10.0.0.0/8"), [10, b, c, d]],
        // An exception for the wrapping's own range is none for what is in it.
        [allowsWith("10.0.0.0/8", "64:ff9b::/32,2000::/3,fd00::/8,::/96"), [10, b, c, d]],
        [allowsWith("127.0.0.0/8", "::/0"), [127, b, c, d]],
        [allowsWith("", "::/0"), [169, 254, c, d]],
        [allowsWith(`${a === 0 ? 1 : a}.${b}.${c}.${d}/32`), [a === 0 ? 1 : a, b, c, d]]
      ]
      for (const [allows, four] of denies) {
        assert.isFalse(allows(four.join(".")))
        for (const [name, wrap] of Object.entries(wrappings)) {
          const address = wrap(four, other)
          assert.isFalse(allows(address), `${name}: ${address} carries ${four.join(".")}`)
        }
      }
    })
  )

  it("counts the unspecified addresses, ::1 and this machine's own addresses as loopback", () => {
    const own = ["127.0.0.1", "::1", "192.0.2.2", "fd00::2", "fe80::2%eth0"]
    const reachThisMachine = ["192.0.2.2", "fd00::2", "::ffff:192.0.2.2", "2002:c000:202::1"]
    const open = allowsWith("10.0.0.0/8", "", own)
    assert.deepEqual(reachThisMachine.filter(open), reachThisMachine)
    for (const deny of ["127.0.0.0/8", "127.0.0.1/32", "::1/128", "::ffff:127.0.0.0/104"]) {
      const closed = allowsWith(deny, "", own)
      const all = [...reachThisMachine, "127.0.0.1", "::1", "0.0.0.0", "::", "::ffff:0.0.0.0"]
      assert.deepEqual(all.filter(closed), [], deny)
      assert.deepEqual(["192.0.2.3", "10.0.0.1"].filter(closed), ["192.0.2.3", "10.0.0.1"])
    }
    const excepted = allowsWith("127.0.0.0/8", "192.0.2.2/32,127.0.0.1/32,fd00::/8,192.0.0.0/8", own)
    assert.deepEqual([...reachThisMachine, "127.0.0.1", "::1", "127.0.0.2"].filter(excepted), [
      "192.0.2.2",
      "::ffff:192.0.2.2",
      "2002:c000:202::1",
      "127.0.0.1"
    ])
  })

  it("makes exceptions: to UPSTREAM_DENY by any range, to what is always denied by one inside it", () => {
    const addresses = ["10.1.2.3", "::ffff:10.1.2.3", "10.1.2.4", "169.254.169.254", "fd00:ec2::254", "0.0.0.0"]
    assert.deepEqual(addresses.filter(allowsWith("10.0.0.0/8", "10.1.2.3/32")), ["10.1.2.3", "::ffff:10.1.2.3"])
    assert.deepEqual(addresses.filter(allowsWith("10.0.0.0/8", "::ffff:10.1.2.3/128")), ["10.1.2.3", "::ffff:10.1.2.3"])
    assert.deepEqual(addresses.filter(allowsWith("10.0.0.0/8", "0.0.0.0/0,::/0,fd00::/8")), addresses.slice(0, 3))
    const named = allowsWith("10.0.0.0/8", "169.254.0.0/16,fd00:ec2::254/128,0.0.0.0/32")
    assert.deepEqual(addresses.filter(named), ["169.254.169.254", "fd00:ec2::254", "0.0.0.0"])
  })

  it.live("connects to no denied address, by name, by number, or by this machine's own address", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const own = Object.values(networkInterfaces())
        .flatMap((found) => found ?? [])
        .map(({ address, family }) => (family === "IPv6" ? `[${address}]` : address))
      const written = ["127.0.0.1", "localhost", "[::1]", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]"]
      const unspecified = ["0.0.0.0", "0", "0x0", "0.0", "[::]", "[::0]", "[::ffff:0.0.0.0]", "[::ffff:0:0]"]
      for (const host of [...written, ...unspecified, ...own]) {
        const { origin } = new URL(`http://${host}:9`)
        const error = yield* Effect.flip(
          send({ origin, path: "/", method: "GET", headers: {}, body: undefined, timeoutMs: 2000, maxBytes: 100 })
        )
        assert.deepInclude(error, { _tag: "HttpUnreachable", reason: "address not allowed" }, host)
      }
    }).pipe(
      Effect.provide(
        Http.layer.pipe(Layer.provide(LocalHosts.layer), Layer.provide(policy({ UPSTREAM_DENY: "127.0.0.0/8" })))
      )
    )
  )
})
