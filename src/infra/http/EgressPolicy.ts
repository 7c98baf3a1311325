// The addresses that an integration may reach: all except
//
// - those that are always denied: unspecified, link-local, multicast, broadcast, metadata services of clouds;
// - those in UPSTREAM_DENY;
// - if loopback is denied (127.0.0.1 or ::1 in UPSTREAM_DENY): all of 127.0.0.0/8, ::1 and the addresses of this
//   machine's interfaces, because a service that listens on all interfaces answers there too.
//
// UPSTREAM_ALLOW makes exceptions. An entry excepts everything it covers from UPSTREAM_DENY. From the addresses that
// are always denied, and from this machine's own, only an entry that lies inside a denied range does, so that 0.0.0.0/0
// or fd00::/8 does not open a metadata service.
//
// An address is judged together with the addresses that it embeds (AddressLayers.ts): it is denied if one of them is,
// and an exception for one is no exception for another.
import { networkInterfaces } from "node:os"
import { Context, Effect, Layer, Result } from "effect"
import { IpNetwork, NetAddress } from "effect/net"
import { Settings } from "../../Settings.ts"
import { layersOf } from "./AddressLayers.ts"

type Networks = ReadonlyArray<IpNetwork.IpNetwork>

const alwaysDenied: Networks = [
  // Unspecified addresses reach this machine.
  "0.0.0.0/8",
  "::/128",
  // Link-local, with most clouds' metadata services.
  "169.254.0.0/16",
  "fe80::/10",
  // Multicast and broadcast.
  "224.0.0.0/4",
  "ff00::/8",
  "255.255.255.255/32",
  // Other metadata services: AWS (its local services, including EKS), Google, Azure, Oracle, Alibaba, Scaleway.
  "fd00:ec2::/32",
  "fd20:ce::254/128",
  "168.63.129.16/32",
  "192.0.0.192/32",
  "fd00:c1::a9fe:a9fe/128",
  "100.100.100.200/32",
  "fd00:42::42/128"
].map(IpNetwork.fromStringUnsafe)

const loopbacks: Networks = ["127.0.0.1/32", "::1/128"].map(IpNetwork.fromStringUnsafe)
const loopbackRanges: Networks = ["127.0.0.0/8", "::1/128"].map(IpNetwork.fromStringUnsafe)

const covers = (networks: Networks, address: NetAddress.IpAddress) =>
  networks.some((network) => IpNetwork.contains(network, address))

/** A range written IPv4-mapped is the IPv4 range. */
const canonical = (network: IpNetwork.IpNetwork): IpNetwork.IpNetwork => {
  const { address, prefixLength } = network
  return NetAddress.isIpv6Address(address) && NetAddress.isIpv4Mapped(address) && prefixLength >= 96
    ? IpNetwork.makeUnsafe(NetAddress.toCanonical(address), prefixLength - 96)
    : network
}

const parse = (text: string) => NetAddress.ipFromString(text.split("%", 1).join(""))

/** `own` returns the addresses of this machine's interfaces, which may change. */
export const makeAllows = (deny: Networks, allow: Networks, own: () => ReadonlyArray<string>) => {
  const denied = deny.map(canonical)
  const allowed = allow.map(canonical)
  const within = (outer: Networks) =>
    allowed.filter((entry) => outer.some((network) => IpNetwork.containsNetwork(network, entry)))
  const opened = within(alwaysDenied)
  const isLoopbackDenied = loopbacks.some(({ address }) => covers(denied, address))

  const isOwn = (address: NetAddress.IpAddress) =>
    own().some((text) => {
      const parsed = parse(text)
      return (
        Result.isSuccess(parsed) &&
        !covers(loopbackRanges, parsed.success) &&
        NetAddress.formatIp(parsed.success) === NetAddress.formatIp(address)
      )
    })

  const passes = (address: NetAddress.IpAddress) => {
    if (covers(alwaysDenied, address)) return covers(opened, address)
    if (isLoopbackDenied) {
      if (covers(loopbackRanges, address)) return covers(allowed, address)
      if (isOwn(address))
        return covers(within([IpNetwork.fromAddressUnsafe(address, NetAddress.width(address))]), address)
    }
    return !covers(denied, address) || covers(allowed, address)
  }

  return (text: string): boolean => {
    const parsed = parse(text)
    return Result.isSuccess(parsed) && layersOf(parsed.success).every(passes)
  }
}

const interfaceAddresses = () =>
  Object.values(networkInterfaces()).flatMap((found) => found?.map(({ address }) => address) ?? [])

export class EgressPolicy extends Context.Service<
  EgressPolicy,
  {
    /** `address` is an IP address from the resolver; any other text is not allowed. */
    readonly allows: (address: string) => boolean
  }
>()("hotpath/infra/http/EgressPolicy") {
  static readonly layer = Layer.effect(
    EgressPolicy,
    Effect.map(Settings, ({ UPSTREAM_ALLOW, UPSTREAM_DENY }) =>
      EgressPolicy.of({ allows: makeAllows(UPSTREAM_DENY, UPSTREAM_ALLOW, interfaceAddresses) })
    )
  )
}
