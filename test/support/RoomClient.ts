// A client of rooms: typed requests, and for each room the ledger of what it was told, watched for gaps and strays.
import { isDeepStrictEqual } from "node:util"
import { Schema } from "effect"
import type { RoomEvent } from "../../src/domain/RoomEvent.ts"
import { type MethodName, Methods, type Params } from "../../src/protocol/methods/Methods.ts"
import type { Client } from "./Client.ts"
import { until } from "./Until.ts"

export type Result<M extends MethodName> = (typeof Methods)[M]["result"]["Type"]

export interface Told {
  readonly roomId: string
  readonly seq: number
  readonly at: string
  readonly event: RoomEvent
}

/** What an answer of `rooms.join`, or of a `rooms.resume` that recovered nothing, begins with. */
export type State = Result<"rooms.join">

export interface Seat {
  readonly roomId: string
  /** Undefined after a resume that recovered everything: what was known before goes on. */
  readonly state: State | undefined
  /** The answer's cursor without its number. */
  readonly epoch: string
  readonly from: number
  /** With those that a resume brought. */
  readonly events: Array<Told>
  isOpen: boolean
}

export interface Reply<M extends MethodName> {
  readonly result?: Result<M>
  readonly error?: {
    readonly message: string
    readonly data: { readonly type: string; readonly [field: string]: unknown }
  }
}

export interface RoomClient {
  readonly user: string
  readonly client: Client
  readonly ask: <M extends MethodName>(method: M, params: Params<M>) => Promise<Reply<M>>
  /** The result; throws the error's type. */
  readonly call: <M extends MethodName>(method: M, params: Params<M>) => Promise<Result<M>>
  /** The error's type, or "none". */
  readonly fails: <M extends MethodName>(method: M, params: Params<M>) => Promise<string>
  /** A batch's results, in the order of its requests. */
  readonly batch: (requests: ReadonlyArray<readonly [MethodName, unknown]>) => Promise<ReadonlyArray<Reply<MethodName>>>
  /** Every event of the room that came, through all seats. */
  readonly told: (roomId: string) => ReadonlyArray<Told>
  readonly types: (roomId: string) => ReadonlyArray<string>
  readonly seat: (roomId: string) => Seat | undefined
  /** Where a later connection resumes from. */
  readonly cursor: (roomId: string) => string
  /** The params of each `room.signal`. */
  readonly signals: ReadonlyArray<{ readonly [name: string]: unknown }>
  /** Gaps, repetitions and events without a seat. */
  readonly violations: ReadonlyArray<string>
  readonly hears: (roomId: string, isIt: (event: RoomEvent) => boolean, what: string) => Promise<Told>
  readonly close: () => Promise<unknown>
  readonly kill: () => Promise<unknown>
}

const decoders = new Map(
  Object.entries(Methods).map(([method, { result }]) => [
    method,
    Schema.decodeUnknownResult(result as unknown as Schema.Codec<unknown, unknown>, { onExcessProperty: "error" })
  ])
)

/** How a result differs from what its method declares: some are written as JSON by hand. */
const undeclared = (method: string, result: unknown): string | undefined => {
  const decoded = decoders.get(method)?.(result)
  return decoded?._tag === "Failure" ? `${method} answered otherwise than declared: ${decoded.failure}` : undefined
}

const parse = (cursor: string) => {
  const at = cursor.lastIndexOf(":")
  return { epoch: cursor.slice(0, at), seq: Number(cursor.slice(at + 1)) }
}

const ledger = (user: string) => {
  const seats = new Map<string, Seat>()
  const told: Array<Told> = []
  const violations: Array<string> = []

  const hear = (one: Told) => {
    const seat = seats.get(one.roomId)
    if (seat?.isOpen !== true) {
      violations.push(`${one.event.type} ${one.seq} without a seat`)
      return
    }
    const last = seat.events.at(-1)?.seq ?? seat.from
    if (one.seq !== last + 1) violations.push(`${one.event.type} ${one.seq} after ${last}`)
    seat.events.push(one)
    told.push(one)
    const isOut = one.event.type === "member.left" && one.event.user === user
    if (isOut || one.event.type === "room.deleted") seat.isOpen = false
  }

  const answered = (method: string, roomId: string, result: Record<string, unknown>, cursor: string | undefined) => {
    if (method === "rooms.leave") {
      const seat = seats.get(roomId)
      if (seat !== undefined) seat.isOpen = false
    }
    if (method !== "rooms.join" && method !== "rooms.resume") return
    const recovered = result["recovered"] === true
    const end = parse(String(result["cursor"]))
    const events: ReadonlyArray<Told> = recovered ? (result["events"] as Array<Told>) : []
    const from = recovered && cursor !== undefined ? parse(cursor).seq : end.seq
    const state = recovered ? undefined : (result as unknown as State)
    seats.set(roomId, { roomId, state, epoch: end.epoch, from, events: [], isOpen: true })
    for (const event of events) {
      hear(event)
      // Who was thrown out and came in again meanwhile is told of both, and is in.
      Object.assign(seats.get(roomId) ?? {}, { isOpen: true })
    }
    const last = seats.get(roomId)?.events.at(-1)?.seq ?? from
    if (last !== end.seq) violations.push(`${method} says ${end.seq} and brought up to ${last}`)
  }

  return { seats, told, violations, hear, answered }
}

export const roomClient = (user: string, client: Client): RoomClient => {
  const { answered, hear, seats, told, violations } = ledger(user)
  interface Sent {
    readonly method: string
    readonly params: {
      readonly roomId?: string
      readonly cursor?: string
      readonly rooms?: ReadonlyArray<{ readonly roomId: string; readonly cursor: string }>
    }
    readonly settle: (reply: Reply<MethodName>) => void
    readonly fail: (error: Error) => void
  }
  const sent = new Map<string, Sent>()
  const signals: Array<{ readonly [name: string]: unknown }> = []
  let count = 0

  type Frame = Reply<MethodName> & { readonly id?: string; readonly method?: string; readonly params?: unknown }
  const take = (frame: Frame) => {
    if (frame.method === "room.event") return hear(frame.params as Told)
    if (frame.method === "room.signal") return void signals.push(frame.params as (typeof signals)[number])
    const request = sent.get(frame.id ?? "")
    if (request === undefined) return
    sent.delete(frame.id ?? "")
    const { cursor, roomId = "" } = request.params
    if (frame.result !== undefined) {
      const wrong = undeclared(request.method, frame.result)
      if (wrong !== undefined) return request.fail(new Error(wrong))
      if (request.method === "rooms.resumeAll") {
        const { rooms } = frame.result as Result<"rooms.resumeAll">
        for (const [n, one] of rooms.entries())
          if ("cursor" in one) answered("rooms.resume", one.roomId, { ...one }, request.params.rooms?.[n]?.cursor)
      } else answered(request.method, roomId, frame.result as Record<string, unknown>, cursor)
    }
    request.settle(frame)
  }
  client.socket.on("message", (data) => {
    const frame = JSON.parse(data.toString()) as Frame | Array<Frame>
    if (Array.isArray(frame)) for (const one of frame) take(one)
    else take(frame)
  })
  void client.closed.then(() => {
    for (const { fail, method } of sent.values())
      fail(new Error(`${user}'s socket closed before ${method} was answered`))
    for (const seat of seats.values()) seat.isOpen = false
  })

  const prepare = (method: MethodName, params: unknown) => {
    const id = `${user}.${++count}`
    const reply = new Promise<Reply<MethodName>>((settle, fail) => {
      sent.set(id, { method, params: params as Sent["params"], settle, fail })
    })
    return { frame: { jsonrpc: "2.0", id, method, params }, reply }
  }
  const ask: RoomClient["ask"] = async (method, params) => {
    const { frame, reply } = prepare(method, params)
    client.socket.send(JSON.stringify(frame))
    return (await reply) as Reply<typeof method>
  }
  const of = (roomId: string) => told.filter((one) => one.roomId === roomId)

  return {
    user,
    client,
    ask,
    signals,
    call: async (method, params) => {
      const { error, result } = await ask(method, params)
      if (result === undefined) throw new Error(`${user} ${method}: ${error?.data.type} ${error?.message}`)
      return result
    },
    fails: async (method, params) => (await ask(method, params)).error?.data.type ?? "none",
    batch: async (requests) => {
      const prepared = requests.map(([method, params]) => prepare(method, params))
      client.socket.send(JSON.stringify(prepared.map(({ frame }) => frame)))
      return Promise.all(prepared.map(({ reply }) => reply))
    },
    told: of,
    types: (roomId) => of(roomId).map(({ event }) => event.type),
    seat: (roomId) => seats.get(roomId),
    cursor: (roomId) => {
      const seat = seats.get(roomId)
      return seat === undefined ? "" : `${seat.epoch}:${seat.events.at(-1)?.seq ?? seat.from}`
    },
    violations,
    hears: async (roomId, isIt, what) => {
      const found = () => of(roomId).findLast(({ event }) => isIt(event))
      await until(() => found() !== undefined, `${user} to hear of ${what}`)
      const heard = found()
      if (heard === undefined) throw new Error(what)
      return heard
    },
    close: () => {
      client.close()
      return client.closed
    },
    kill: () => {
      client.socket.terminate()
      return client.closed
    }
  }
}

/** Each event of a message as its last edit or deletion among them leaves it: a resume brings no older form of it. */
export const asItIs = (told: ReadonlyArray<Told>): ReadonlyArray<Told> => {
  const isLast = new Map<string, Told>()
  for (const one of told) {
    const { event } = one
    if (event.type === "message.edited" || event.type === "message.deleted") isLast.set(event.message.messageId, one)
  }
  return told.map((one) => {
    const { event } = one
    const last = "message" in event ? isLast.get(event.message.messageId) : undefined
    if (last === undefined || last.seq <= one.seq || !("message" in last.event)) return one
    return { ...one, event: { ...event, message: last.event.message } as RoomEvent }
  })
}

/** Waits until these, being in the room, have heard as far as each other, and compares what all of them were told. */
export const allHeardTheSame = async (clients: ReadonlyArray<RoomClient>, roomId: string): Promise<void> => {
  const last = () => clients.map((one) => one.seat(roomId)?.events.at(-1)?.seq ?? one.seat(roomId)?.from ?? -1)
  await until(() => new Set(last()).size === 1, `all to be told the same, ${clients.map(({ user }) => user)}`)
  const from = Math.max(...clients.map((one) => one.seat(roomId)?.from ?? 0))
  const [first, ...others] = clients.map((one) =>
    asItIs((one.seat(roomId)?.events ?? []).filter(({ seq }) => seq > from))
  )
  for (const other of others) {
    if (!isDeepStrictEqual(other, first)) {
      throw new Error(`told otherwise:\n${JSON.stringify(first)}\n${JSON.stringify(other)}`)
    }
  }
  const wrong = clients.flatMap(({ user, violations }) => violations.map((text) => `${user}: ${text}`))
  if (wrong.length > 0) throw new Error(wrong.join("\n"))
}
