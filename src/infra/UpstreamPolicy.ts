// Which addresses an integration may reach: all but those of UPSTREAM_DENY, except those of UPSTREAM_ALLOW. An IPv4 address
// wrapped in an IPv6 one (mapped, compatible, translated, 6to4, Teredo, NAT64) is judged as what it wraps, too.
import { Context, Effect, Layer, Result } from "effect"
import { IpNetwork, NetAddress } from "effect/net"
import { Settings } from "../Settings.ts"

const wrapped = (address: NetAddress.Ipv6Address): NetAddress.Ipv4Address | undefined => {
  const bytes = NetAddress.ipv6ToOctets(address)
  const starts = (...prefix: ReadonlyArray<number>) => prefix.every((byte, n) => bytes[n] === byte)
  const zeros = (from: number, to: number) => bytes.slice(from, to).every((byte) => byte === 0)
  const at = (from: number) => NetAddress.ipv4FromBytesUnsafe(Uint8Array.from(bytes.slice(from, from + 4)))
  if (zeros(0, 10) && bytes[10] === 0xff && bytes[11] === 0xff) return at(12)
  // Not ::1 and ::, which are addresses of their own.
  if (zeros(0, 12) && !zeros(12, 15)) return at(12)
  if (zeros(0, 8) && bytes[8] === 0xff && bytes[9] === 0xff && zeros(10, 12)) return at(12)
  if (starts(0x00, 0x64, 0xff, 0x9b)) return at(12)
  if (starts(0x20, 0x01, 0x00, 0x00)) return at(4)
  return starts(0x20, 0x02) ? at(2) : undefined
}

export class UpstreamPolicy extends Context.Service<
  UpstreamPolicy,
  {
    /** `address` is an IP address as the resolver gives it; what is none is not allowed. */
    readonly allows: (address: string) => boolean
  }
>()("hotpath/infra/UpstreamPolicy") {
  static readonly layer = Layer.effect(
    UpstreamPolicy,
    Effect.map(Settings, ({ UPSTREAM_ALLOW, UPSTREAM_DENY }) => {
      const contains = (networks: ReadonlyArray<IpNetwork.IpNetwork>, address: NetAddress.IpAddress) =>
        networks.some((network) => IpNetwork.contains(network, address))
      const passes = (address: NetAddress.IpAddress) =>
        contains(UPSTREAM_ALLOW, address) || !contains(UPSTREAM_DENY, address)
      return UpstreamPolicy.of({
        allows: (text) => {
          const parsed = NetAddress.ipFromString(text.split("%", 1).join(""))
          if (Result.isFailure(parsed)) return false
          const address = parsed.success
          const inside = NetAddress.isIpv6Address(address) ? wrapped(address) : undefined
          return passes(address) && (inside === undefined || passes(inside))
        }
      })
    })
  )
}
