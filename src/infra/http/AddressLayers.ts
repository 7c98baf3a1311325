// The addresses that an IP address reaches: itself, and every IPv4 address that it embeds in one of the known ways. An
// address can be read in several ways at once (a 6to4 address whose interface id is ISATAP's); all of them count.
import { NetAddress } from "effect/net"

type Bytes = ReadonlyArray<number>

const zeros = (bytes: Bytes, from: number, to: number) => bytes.slice(from, to).every((byte) => byte === 0)
const starts = (bytes: Bytes, ...prefix: Bytes) => prefix.every((byte, n) => bytes[n] === byte)
const from = (at: number) => [at, at + 1, at + 2, at + 3]

interface Wrapping {
  readonly matches: (bytes: Bytes) => boolean
  /** The positions of the embedded address's four bytes, for each possible layout. */
  readonly layouts: ReadonlyArray<ReadonlyArray<number>>
  /** The bits are inverted. */
  readonly inverted?: boolean
}

// RFC 6052 section 2.2: byte 8 stays free. (/32 and /40 are shorter than the local-use prefix.)
const rfc6052 = { 48: [6, 7, 9, 10], 56: [7, 9, 10, 11], 64: [9, 10, 11, 12], 96: from(12) }

const isLocalNat64 = (bytes: Bytes) => starts(bytes, 0x00, 0x64, 0xff, 0x9b, 0x00, 0x01)

const wrappings: ReadonlyArray<Wrapping> = [
  // IPv4-mapped ::ffff:a.b.c.d, and translated ::ffff:0:a.b.c.d (RFC 2765).
  { matches: (bytes) => zeros(bytes, 0, 10) && bytes[10] === 0xff && bytes[11] === 0xff, layouts: [from(12)] },
  {
    matches: (bytes) => zeros(bytes, 0, 8) && bytes[8] === 0xff && bytes[9] === 0xff && zeros(bytes, 10, 12),
    layouts: [from(12)]
  },
  // IPv4-compatible ::a.b.c.d; not :: and ::1, which are addresses of their own.
  {
    matches: (bytes) => zeros(bytes, 0, 12) && !(zeros(bytes, 12, 15) && (bytes[15] ?? 0) < 2),
    layouts: [from(12)]
  },
  // NAT64, well known 64:ff9b::/96 and local use 64:ff9b:1::/48 (RFC 8215), whose operator chooses the length.
  { matches: (bytes) => starts(bytes, 0x00, 0x64, 0xff, 0x9b) && !isLocalNat64(bytes), layouts: [from(12)] },
  { matches: isLocalNat64, layouts: [rfc6052[48], rfc6052[56], rfc6052[64], rfc6052[96]] },
  // Teredo: the server, and the client behind it.
  { matches: (bytes) => starts(bytes, 0x20, 0x01, 0x00, 0x00), layouts: [from(4)] },
  { matches: (bytes) => starts(bytes, 0x20, 0x01, 0x00, 0x00), layouts: [from(12)], inverted: true },
  // 6to4.
  { matches: (bytes) => starts(bytes, 0x20, 0x02), layouts: [from(2)] },
  // ISATAP: interface id [0-3]00:5efe:a.b.c.d under any prefix.
  {
    matches: (bytes) => (bytes[8] ?? 0) < 4 && bytes[9] === 0 && bytes[10] === 0x5e && bytes[11] === 0xfe,
    layouts: [from(12)]
  }
]

const embedded = (address: NetAddress.Ipv6Address): ReadonlyArray<NetAddress.Ipv4Address> => {
  const bytes = NetAddress.ipv6ToOctets(address)
  return wrappings
    .filter(({ matches }) => matches(bytes))
    .flatMap(({ inverted, layouts }) => {
      const found = layouts.map((layout) => layout.map((at) => (bytes[at] ?? 0) ^ (inverted === true ? 0xff : 0)))
      // A wrong layout reads the zeros beside the address as 0.x, which is ignored unless all layouts do.
      const likely = found.filter(([first]) => first !== 0)
      return likely.length === 0 ? found : likely
    })
    .map((four) => NetAddress.ipv4FromBytesUnsafe(Uint8Array.from(four)))
}

/** The address itself first. IPv4 addresses embed no others, so one step is enough. */
export const layersOf = (address: NetAddress.IpAddress): ReadonlyArray<NetAddress.IpAddress> =>
  NetAddress.isIpv6Address(address) ? [address, ...embedded(address)] : [address]
