// The room buffer as instances have it: in memory, or over a Redis (as many as wanted, each with a connection of its own).
import { randomUUID } from "node:crypto"
import { afterAll, beforeAll, describe } from "@effect/vitest"
import { Context, Effect, Layer, type Scope } from "effect"
import { RoomBus } from "../../src/cluster/rooms/RoomBus.ts"
import * as RoomBusMemory from "../../src/cluster/rooms/RoomBusMemory.ts"
import { RoomBusState } from "../../src/cluster/rooms/RoomBusState.ts"
import { type Document, updatedEvent } from "../../src/domain/Document.ts"
import type { Message } from "../../src/domain/Message.ts"
import { Metrics } from "../../src/observability/Metrics.ts"
import * as WriteBufferMemory from "../../src/storage/buffer/memory/WriteBufferMemory.ts"
import { WriteBufferState } from "../../src/storage/buffer/memory/WriteBufferState.ts"
import { type Change, type Update, WriteBuffer } from "../../src/storage/buffer/WriteBuffer.ts"
import * as WriteBufferRedis from "../../src/storage/buffer/WriteBufferRedis.ts"
import { overRedis } from "./OverRedis.ts"
import { commandTimeout, kinds, time } from "./RoomInstances.ts"
import type { RunningServer } from "./Servers.ts"

export type Buffer = WriteBuffer["Service"]

/** What instances share: the buffer and the rooms' logs; and a build of the buffer and the bus for each that is wanted. */
export const memoryBuffers = Effect.gen(function* () {
  const shared = yield* Layer.build(Layer.fresh(Layer.mergeAll(WriteBufferState.layer, RoomBusState.layer)))
  const instance = (intervalMs: number) =>
    Layer.mergeAll(WriteBufferMemory.layerShared(intervalMs), RoomBusMemory.layerShared).pipe(
      Layer.provide([RoomBusMemory.layerLog, Metrics.layer])
    )
  const both = (intervalMs: number) =>
    Layer.build(Layer.fresh(instance(intervalMs))).pipe(
      Effect.provideContext(shared),
      Effect.map((built) => ({ buffer: Context.get(built, WriteBuffer), bus: Context.get(built, RoomBus) }))
    )
  const open = (intervalMs: number) => Effect.map(both(intervalMs), ({ buffer }) => buffer)
  return { both, open, state: Context.get(shared, WriteBufferState) }
})

export const memoryBuffer = (intervalMs: number) => Effect.flatMap(memoryBuffers, ({ open }) => open(intervalMs))

/** Until its scope is closed. */
export const redisBuffer = Effect.fnUntraced(function* (url: string, intervalMs: number) {
  const { check, context, redis } = yield* overRedis(WriteBufferRedis.layer(intervalMs), url, commandTimeout)
  return { buffer: Context.get(context, WriteBuffer), redis, check }
})

/** Into the buffer as it is now. */
export const load = (buffer: Buffer, roomId: string, document: Document, isOpen: boolean, lease: number) =>
  Effect.flatMap(buffer.depth, ({ parts }) => buffer.load(roomId, document, isOpen, lease, parts))

export const saved = (version: number, text = `saved ${version}`, name = "main"): Document => ({
  name,
  text,
  version,
  savedVersion: version
})

export const updating = (baseVersion: number, text: string, more: Partial<Update> = {}): Update => ({
  name: "main",
  baseVersion,
  text,
  user: "ann",
  connectionId: "c",
  at: time,
  event: updatedEvent("main", baseVersion + 1, "ann", text),
  lease: 1,
  ...more
})

export const saying = (roomId: string, more: Partial<Message> = {}): Message => ({
  messageId: randomUUID(),
  roomId,
  threadId: null,
  author: "ann",
  kind: "chat",
  body: 'größe 😀 "\\\n',
  at: time,
  editedAt: null,
  deletedAt: null,
  reactions: {},
  ...more
})

export const changing = (type: Change["type"] = "message.edited"): Change => ({
  type,
  at: time,
  event: `{"type":"${type}"}`
})

/** Appends it; its ordinal. */
export const append = (buffer: Buffer, message: Message, key?: string) =>
  Effect.map(buffer.append(message, key, '{"type":"message.sent"}', 1), (appended) =>
    "ordinal" in appended ? appended.ordinal : Number.NaN
  )

export const hour = 3_600_000

export interface BufferSuite {
  readonly isInMemory: boolean
  /** The URL of the suite's server, once it runs. */
  readonly url: () => string
  readonly open: (intervalMs?: number) => Effect.Effect<Buffer, unknown, Scope.Scope>
  /** A buffer, and a room that has its document open. */
  readonly opened: (
    version?: number,
    intervalMs?: number
  ) => Effect.Effect<{ readonly buffer: Buffer; readonly roomId: string }, unknown, Scope.Scope>
}

/** The suite, once a kind of buffer; each kind but memory with a server of its own. */
export const overBuffers = (what: string, suite: (of: BufferSuite) => void) => {
  for (const [kind, start] of Object.entries(kinds)) {
    describe(`${what}: ${kind}`, () => {
      let server: RunningServer | undefined
      beforeAll(async () => {
        server = await start?.()
      })
      afterAll(() => server?.stop())
      const open = (intervalMs = hour) =>
        Effect.suspend((): Effect.Effect<Buffer, unknown, Scope.Scope> => {
          if (server === undefined) return memoryBuffer(intervalMs)
          return Effect.map(redisBuffer(server.url, intervalMs), ({ buffer }) => buffer)
        })
      const opened = (version = 0, intervalMs = hour) =>
        Effect.gen(function* () {
          const buffer = yield* open(intervalMs)
          const roomId = randomUUID()
          yield* load(buffer, roomId, saved(version), true, 1)
          return { buffer, roomId }
        })
      suite({ isInMemory: start === undefined, url: () => server?.url ?? "", open, opened })
    })
  }
}

/** All messages of the room that wait, in their order. */
export const allOf = (buffer: Buffer, roomId: string) =>
  Effect.map(
    buffer.messages(roomId, { before: undefined, limit: 1_000_000, maxBytes: Number.MAX_SAFE_INTEGER }),
    ({ entries }) => entries
  )

/** The room's part of a claim. */
export const claims = (buffer: Buffer, roomId: string, all: boolean, leaseMs: number) =>
  Effect.map(buffer.claim({ all, leaseMs }), (rooms) => rooms.includes(roomId))

/** Documents by name and version, messages by body and version. */
export const waiting = (buffer: Buffer, roomId: string) =>
  Effect.map(buffer.dirty(roomId), ({ documents, messages }) => [
    ...documents.map(({ name, version }) => `${name} ${version}`).sort(),
    ...messages.map(({ version, message }) => `${message.body} ${version}`)
  ])
