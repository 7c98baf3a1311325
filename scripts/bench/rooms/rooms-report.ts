// The tables of the room benchmark, ratios first, and the result of the ledgers.

import { median, ratioRow, table } from "../lib/report.ts"
import type { Faults } from "./ledger.ts"

export interface RoomSide {
  readonly name: string
  /** The side promises consecutive numbers in a room; otherwise only the order of each sender's messages. */
  readonly ordersRoom: boolean
  readonly cpu: Array<number>
  readonly redisCpu: Array<number>
  readonly p50: Array<number>
  readonly p99: Array<number>
  /** The largest delay between a message's due time and its sending: shows how busy the machine was. */
  late: number
  deliveries: number
  expected: number
  /** Size of one event, without its frame. */
  bytes: number
  /** Of each half of the load, since its start. */
  faults: ReadonlyArray<Faults>
  errors: ReadonlyArray<Readonly<Record<string, number>>>
}

interface Results {
  readonly sides: readonly [RoomSide, RoomSide]
  readonly members: number
  readonly rate: number
  readonly senders: number
}

const ledgers = ({ deliveries, errors, expected, faults, name, ordersRoom }: RoomSide): string => {
  const total = (kind: keyof Faults) => faults.reduce((sum, half) => sum + half[kind], 0)
  const kinds = [
    ["missing", total("missing")],
    ["skipped", total("skipped")],
    ["repeated or late", total("repeated")],
    ...(ordersRoom ? ([["out of the room's order", total("unordered")]] as const) : [])
  ] as const
  const violations = kinds.reduce((sum, [, times]) => sum + times, 0)
  const found = kinds.flatMap(([kind, times]) => (times === 0 ? [] : [`${times} ${kind}`]))
  const failures = new Map<string, number>()
  for (const [kind, times] of errors.flatMap(Object.entries<number>)) {
    failures.set(kind, (failures.get(kind) ?? 0) + times)
  }
  const failed = [...failures].map(([kind, times]) => `${times} ${kind}`)
  return [
    `${name}: ${deliveries} of ${expected} deliveries, ${violations} violations${found.length === 0 ? "" : ` (${found.join(", ")})`}`,
    ordersRoom ? "" : `; promises no order of the room, ${total("unordered")} were out of turn in it`,
    `; errors: ${failed.length === 0 ? "none" : failed.join(", ")}.`
  ].join("")
}

export const roomsReport = ({ members, rate, senders, sides }: Results): string => {
  const [own, other] = sides
  const here = [
    ["servers' CPU per delivery, µs", own.cpu, other.cpu, 2],
    ["p50 to the last member, ms", own.p50, other.p50, 2],
    ["p99 to the last member, ms", own.p99, other.p99, 2],
    ["Redis's CPU per message, µs", own.redisCpu, other.redisCpu, 0]
  ] as const
  return [
    table(
      [`${own.name} / ${other.name}`, "ratio", "rounds, least–most"],
      [
        ratioRow("servers' CPU time per delivery", own.cpu, other.cpu),
        ratioRow("p50 from sending to the last delivery", own.p50, other.p50),
        ratioRow("p99 from sending to the last delivery", own.p99, other.p99),
        ratioRow("Redis's CPU time per message", own.redisCpu, other.redisCpu)
      ]
    ),
    table(
      ["here (medians)", own.name, other.name],
      [
        ...here.map(([what, ours, theirs, digits]) => [
          what,
          median(ours).toFixed(digits),
          median(theirs).toFixed(digits)
        ]),
        ["sent later than due, at most, ms", own.late.toFixed(0), other.late.toFixed(0)],
        ["bytes of an event", String(own.bytes), String(other.bytes)]
      ]
    ),
    `One room, ${members} members on two instances, ${rate} messages/s from ${senders} of them. Each must see each message once, in order:\n${sides.map(ledgers).join("\n")}`
  ].join("\n\n")
}
