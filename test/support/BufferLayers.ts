// The buffered stores over memory, whose buffer and whose Postgres a test can take away and give back. Every call of theirs lets
// others go first a few times, so that operations under way together interleave.
import { Context, Effect, Layer } from "effect"
import * as RoomBusMemory from "../../src/cluster/rooms/RoomBusMemory.ts"
import { RoomBusState } from "../../src/cluster/rooms/RoomBusState.ts"
import { StorageUnavailable } from "../../src/domain/Room.ts"
import { RoomLog } from "../../src/infra/RoomLog.ts"
import { Lifecycle } from "../../src/observability/Lifecycle.ts"
import { Metrics } from "../../src/observability/Metrics.ts"
import { Settings } from "../../src/Settings.ts"
import * as DocumentStoreBuffered from "../../src/storage/buffer/DocumentStoreBuffered.ts"
import { Flusher } from "../../src/storage/buffer/Flusher.ts"
import { FlushTarget } from "../../src/storage/buffer/FlushTarget.ts"
import * as MessageStoreBuffered from "../../src/storage/buffer/MessageStoreBuffered.ts"
import * as WriteBufferMemory from "../../src/storage/buffer/memory/WriteBufferMemory.ts"
import { WriteBufferState } from "../../src/storage/buffer/memory/WriteBufferState.ts"
import { UnflushedWrites } from "../../src/storage/buffer/UnflushedWrites.ts"
import { BufferUnavailable, WriteBuffer } from "../../src/storage/buffer/WriteBuffer.ts"
import { WriteMode } from "../../src/storage/buffer/WriteMode.ts"
import { WriteRouting } from "../../src/storage/buffer/WriteRouting.ts"
import { WriterLeases } from "../../src/storage/buffer/WriterLeases.ts"
import { ContactStore } from "../../src/storage/rooms/ContactStore.ts"
import { DocumentStore } from "../../src/storage/rooms/DocumentStore.ts"
import { InviteStore } from "../../src/storage/rooms/InviteStore.ts"
import { MemberStore } from "../../src/storage/rooms/MemberStore.ts"
import { MessageStore } from "../../src/storage/rooms/MessageStore.ts"
import { Outbox } from "../../src/storage/rooms/Outbox.ts"
import { RoomPurge } from "../../src/storage/rooms/RoomPurge.ts"
import { RoomStore } from "../../src/storage/rooms/RoomStore.ts"
import { ThreadStore } from "../../src/storage/rooms/ThreadStore.ts"
import { intercept } from "../../src/testing/Intercept.ts"
import { allStores, at, memoryStores, type Stores } from "./RoomStores.ts"

/** What is away now. */
export interface Away {
  buffer: boolean
  durable: boolean
}

/** The same service, every operation of which fails while it is away, before anything happened. */
const failing = <S extends object, E>(service: S, isAway: () => boolean, error: () => E, pauses: () => number): S =>
  intercept(service, ({ method }) => (effect) => {
    if (method === "onReturn") return effect
    return Effect.gen(function* () {
      for (let left = pauses(); left > 0; left--) yield* Effect.yieldNow
      return yield* isAway() ? Effect.fail(error()) : effect
    })
  })

const toLayer = (stores: Stores) =>
  Layer.mergeAll(
    Layer.succeed(ContactStore, stores.contacts),
    Layer.succeed(DocumentStore, stores.documents),
    Layer.succeed(FlushTarget, stores.flush),
    Layer.succeed(InviteStore, stores.invites),
    Layer.succeed(MemberStore, stores.members),
    Layer.succeed(MessageStore, stores.messages),
    Layer.succeed(Outbox, stores.outbox),
    Layer.succeed(RoomPurge, stores.purge),
    Layer.succeed(RoomStore, stores.rooms),
    Layer.succeed(ThreadStore, stores.threads)
  )

/** What instances have in common. */
export const makeShared = Effect.fnUntraced(function* (intervalMs: number) {
  const durable = yield* Effect.provide(allStores, Layer.fresh(memoryStores))
  const context = yield* Layer.build(
    Layer.fresh(
      Layer.mergeAll(WriteBufferMemory.layerShared(intervalMs), WriterLeases.layerMemory).pipe(
        Layer.provideMerge(Layer.mergeAll(WriteBufferState.layer, RoomBusMemory.layerLog)),
        Layer.provide(RoomBusState.layer)
      )
    )
  )
  const log = Context.get(context, RoomLog)
  return {
    durable,
    holds: Context.get(context, WriterLeases),
    buffer: Context.get(context, WriteBuffer),
    /** The event of another document's opening was published. */
    switched: (roomId: string) => log.append(roomId, { at: at(), type: "document.switched", subject: "", event: "{}" }),
    /** The buffer comes back empty. */
    restart: Context.get(context, WriteBufferState).lose
  }
})
export type Shared = Effect.Success<ReturnType<typeof makeShared>>

/** `pauses`: how often the next call lets others go first. */
export const makeInstance = Effect.fnUntraced(function* (shared: Shared, pauses: () => number) {
  const away: Away = { buffer: false, durable: false }
  const notSent = () => new BufferUnavailable({ isSent: false, cause: "away" })
  const down = () => new StorageUnavailable({ reason: "away" })
  const durably = <S extends object>(store: S) => failing(store, () => away.durable, down, pauses)
  const ports = {
    buffer: failing(shared.buffer, () => away.buffer, notSent, pauses),
    durable: {
      contacts: durably(shared.durable.contacts),
      documents: durably(shared.durable.documents),
      flush: durably(shared.durable.flush),
      invites: durably(shared.durable.invites),
      members: durably(shared.durable.members),
      messages: durably(shared.durable.messages),
      outbox: durably(shared.durable.outbox),
      purge: durably(shared.durable.purge),
      rooms: durably(shared.durable.rooms),
      threads: durably(shared.durable.threads)
    },
    holds: durably(shared.holds)
  }
  const Ports = Layer.mergeAll(
    toLayer(ports.durable),
    Layer.succeed(WriteBuffer, ports.buffer),
    Layer.succeed(WriterLeases, ports.holds)
  )
  const context = yield* Layer.build(
    Layer.fresh(
      Layer.merge(DocumentStoreBuffered.layer, MessageStoreBuffered.layer).pipe(
        Layer.provide(WriteRouting.layer),
        Layer.provideMerge(WriteMode.layer),
        Layer.provideMerge(Layer.mergeAll(Flusher.layer, UnflushedWrites.layer)),
        Layer.provideMerge(Ports),
        Layer.provide(Layer.mergeAll(Lifecycle.layer, Metrics.layer)),
        Layer.provide(Settings.layer)
      )
    )
  )
  return {
    away,
    switched: shared.switched,
    /** What is there, whoever is away. */
    there: { buffer: shared.buffer, durable: shared.durable },
    ...ports,
    context,
    stores: yield* Effect.provideContext(allStores, context),
    flusher: Context.get(context, Flusher)
  }
})
export type Buffered = Effect.Success<ReturnType<typeof makeInstance>>

export const makeBuffered = (intervalMs: number, pauses: () => number) =>
  Effect.flatMap(makeShared(intervalMs), (shared) => makeInstance(shared, pauses))
