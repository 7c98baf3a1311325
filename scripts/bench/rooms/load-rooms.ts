// Half of a room's members (those of one instance), as a separate process. Reads commands from stdin and prints one line per
// command: "make" creates a room; "join ROOM"; "quiet" waits until no more events arrive; "run SECONDS RATE AT" lets the senders
// send at that rate from that time on and records all deliveries. Times are of the machine's clock, which the other half and
// the benchmark share.
import { createInterface } from "node:readline"
import { machineMs } from "../lib/machine-clock.ts"
import { patiently } from "../lib/patiently.ts"
import { dialects, type Room } from "./dialects.ts"
import { bodyOf, Ledger } from "./ledger.ts"
import { Member } from "./member.ts"

const { URL: address = "", DIALECT = "", MEMBERS = "500", HALF = "0", SENDERS = "4" } = process.env
const url = new URL(address)
const dialect = dialects[DIALECT]
if (dialect === undefined) throw new Error(`no dialect ${DIALECT}`)
const count = Number(MEMBERS)
const half = Number(HALF)
/** Senders of this half. The other half has as many; their numbers come after or before these. */
const own = Number(SENDERS)
const joinedAtOnce = 10

const members: Array<Member> = []
const ledger = new Ledger(count, own * 2)
const sentBefore = new Array<number>(own * 2).fill(0)
const errors = new Map<string, number>()
/** By message: when a member of this half last received it, and how many did. */
let received = new Map<string, { at: number; times: number }>()
let deliveries = 0
let events = 0
let bytes = 0

const say = (what: unknown) => console.log(JSON.stringify(what))
const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))
const fail = (kind: string, times = 1) => {
  if (times > 0) errors.set(kind, (errors.get(kind) ?? 0) + times)
}

const see = (member: number, event: string) => {
  events++
  const message = ledger.see(member, event)
  if (message === undefined) return
  deliveries++
  bytes = event.length
  const key = `${message.sender} ${message.number}`
  const before = received.get(key)
  if (before === undefined) received.set(key, { at: machineMs(), times: 1 })
  else {
    before.at = machineMs()
    before.times++
  }
}

const kindOf = (error: unknown) => {
  const { data, message } = error as { readonly data?: { readonly type?: string }; readonly message?: string }
  return data?.type ?? message ?? String(error)
}

const connect = (user: string, event: (text: string) => void) =>
  Member.connect(url, user, dialect, { event, lost: (reason) => fail(`connection lost (${reason})`) })

const join = async (room: Room) => {
  let next = 0
  const joining = async () => {
    while (next < count) {
      const n = next++
      const member = await connect(`member${half * count + n}`, (event) => see(n, event))
      members[n] = member
      await patiently(() => dialect.join((method, params) => member.call(method, params), room))
    }
  }
  await Promise.all(Array.from({ length: joinedAtOnce }, joining))
}

/** Waits until no member receives anything: each join is announced to all members. */
const quiet = async () => {
  for (let left = 60, before = -1; left > 0 && before !== events; left--) {
    before = events
    await pause(1000)
  }
}

const run = async (room: Room, seconds: number, rate: number, at: number) => {
  received = new Map()
  deliveries = 0
  const total = Math.round((seconds * rate) / 2)
  const each = sentBefore.map((_, sender) => Math.ceil((total - (sender % own)) / own))
  const expected = count * total * 2
  const everyMs = 2000 / rate
  // The halves alternate.
  const dueAt = (n: number) => at + (n + half / 2) * everyMs
  const sent: Record<string, number> = {}
  let answered = 0
  let late = 0
  for (let n = 0; n < total; n++) {
    await pause(Math.max(0, dueAt(n) - machineMs()))
    const place = n % own
    const sender = half * own + place
    const number = (sentBefore[sender] ?? 0) + Math.floor(n / own)
    const now = machineMs()
    late = Math.max(late, now - dueAt(n))
    sent[`${sender} ${number}`] = now
    const body = bodyOf({ sender, number })
    // Spread over all members, not the first ones to join.
    const member = members[Math.floor(((place + 0.5) * count) / own)]
    member?.request(dialect.message, { roomId: room.roomId, body, key: `${sender}-${number}` }, ({ error }) => {
      answered++
      if (error !== undefined) fail(`refused (${kindOf(error)})`)
    })
  }
  // Half a second for work behind the deliveries. A message not received within five seconds is missing.
  const over = machineMs()
  const after = () => machineMs() - over
  while (after() < 500 || ((deliveries < expected || answered < total) && after() < 5000)) await pause(20)
  fail("unanswered", total - answered)
  ledger.settle(each)
  for (const [sender, more] of each.entries()) sentBefore[sender] = (sentBefore[sender] ?? 0) + more
  const last = Object.fromEntries([...received].map(([key, { at, times }]) => [key, { at, times }]))
  return { sent, last, deliveries, expected, bytes, late, faults: ledger.faults, errors: Object.fromEntries(errors) }
}

let room: Room = { roomId: "", invite: "" }
for await (const line of createInterface({ input: process.stdin })) {
  const [command, ...rest] = line.split(" ")
  if (command === "make") {
    const owner = await connect("owner", () => {})
    say(await dialect.makeRoom((method, params) => owner.call(method, params)))
  } else if (command === "join") {
    room = JSON.parse(rest.join(" ")) as Room
    await join(room)
    say({ joined: count })
  } else if (command === "quiet") {
    await quiet()
    say({ events })
  } else {
    const [seconds = 1, rate = 10, at = 0] = rest.map(Number)
    say(await run(room, seconds, rate, at))
  }
}
process.exit(0)
