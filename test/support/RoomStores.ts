// Every layer of the room stores, and what their suites say over and over.
import { randomUUID } from "node:crypto"
import { assert, describe, layer, type Vitest } from "@effect/vitest"
import { Effect, Layer, Logger } from "effect"
import type { Role } from "../../src/domain/Room.ts"
import { FlushTarget } from "../../src/storage/buffer/FlushTarget.ts"
import * as FlushTargetMemory from "../../src/storage/buffer/memory/FlushTargetMemory.ts"
import { DeadLetters } from "../../src/storage/DeadLetters.ts"
import { LockFences } from "../../src/storage/LockFences.ts"
import { type Committed, Publisher } from "../../src/storage/rooms/Committed.ts"
import { ContactStore } from "../../src/storage/rooms/ContactStore.ts"
import { DocumentStore } from "../../src/storage/rooms/DocumentStore.ts"
import { type InviteKey, InviteStore } from "../../src/storage/rooms/InviteStore.ts"
import { MemberStore } from "../../src/storage/rooms/MemberStore.ts"
import { MessageStore, type NewMessage } from "../../src/storage/rooms/MessageStore.ts"
import * as StoresMemory from "../../src/storage/rooms/memory/StoresMemory.ts"
import { Outbox } from "../../src/storage/rooms/Outbox.ts"
import { RoomPurge } from "../../src/storage/rooms/RoomPurge.ts"
import { RoomStore } from "../../src/storage/rooms/RoomStore.ts"
import * as StoresSql from "../../src/storage/rooms/StoresSql.ts"
import { ThreadStore } from "../../src/storage/rooms/ThreadStore.ts"
import { embedded, server } from "./DatabaseLayers.ts"
import { patienceMs } from "./Patience.ts"
import { isSoak } from "./Soak.ts"

/** All of them, by name: for what is done to several at a time. */
export const allStores = Effect.all({
  contacts: ContactStore,
  documents: DocumentStore,
  flush: FlushTarget,
  invites: InviteStore,
  members: MemberStore,
  messages: MessageStore,
  outbox: Outbox,
  purge: RoomPurge,
  rooms: RoomStore,
  threads: ThreadStore
})
export type Stores = Effect.Success<typeof allStores>
export type AnyStore = Effect.Services<typeof allStores> | DeadLetters | Publisher
/** These suites read what a write committed: nobody publishes it. */
export const noPublisher = Layer.succeed(Publisher, "publishes")

export const memoryStores = FlushTargetMemory.layer.pipe(
  Layer.provideMerge(Layer.mergeAll(StoresMemory.layer, DeadLetters.layerMemory)),
  Layer.merge(noPublisher)
)
const sqlStores = Layer.merge(StoresSql.layer, FlushTarget.layer).pipe(
  Layer.provideMerge(DeadLetters.layer),
  Layer.provide(LockFences.layer),
  Layer.merge(noPublisher)
)

// With the database beside them, where there is one, for what would take too many writes to come to.
export const storeKinds = {
  memory: memoryStores,
  embedded: sqlStores.pipe(Layer.provideMerge(embedded)),
  PostgreSQL: Layer.provideMerge(sqlStores, server)
}

/**
 * Suites that run over the embedded database in every run: the others have the same SQL over PostgreSQL, and each would
 * start an embedded database, which is 2 s of CPU.
 */
const embeddedInEveryRun = new Set(["MemberStore and InviteStore", "MessageStore", "RoomStore"])

/** The suite, once a layer. */
export const overStores = (what: string, suite: (it: Vitest.MethodsNonLive<AnyStore>) => void) => {
  for (const [name, stores] of Object.entries<Layer.Layer<AnyStore, unknown>>(storeKinds)) {
    if (name === "embedded" && !isSoak && !embeddedInEveryRun.has(what)) continue
    describe(`${what}: ${name}`, () => {
      layer<AnyStore, unknown>(Layer.provideMerge(stores, Logger.layer([])), {
        timeout: patienceMs,
        excludeTestServices: true
      })(suite)
    })
  }
}

/** A document all of whose versions are stored. */
export const full = (version: number, text: string, name = "main") => ({ name, text, version, savedVersion: version })

const epoch = 1_750_000_000_123

export const id = (): string => randomUUID()
/** A time, `n` milliseconds after the first. */
export const at = (n = 0): string => new Date(epoch + n).toISOString()
export const ms = (n = 0): number => epoch + n
export const by = (user: string, n = 0) => ({ user, at: at(n) })

/** A room that `owner` made. */
export const makeRoom = Effect.fnUntraced(function* (owner: string, n = 0) {
  const { create: createRoom } = yield* RoomStore
  const roomId = id()
  yield* createRoom({ roomId, title: "a room", owner, autoAssign: false, createdAt: at(n) })
  return roomId
})

export const makeInvite = Effect.fnUntraced(function* (
  roomId: string,
  createdBy: string,
  role: Role,
  more: { readonly expiresAt?: number; readonly maxUses?: number } = {}
) {
  const { create: createInvite } = yield* InviteStore
  const key: InviteKey = { inviteId: id(), secretHash: id() }
  const minimum = role === "owner" ? "owner" : "member"
  const { expiresAt, maxUses } = more
  yield* createInvite({ ...key, roomId, role, createdBy, createdAt: ms(), expiresAt, maxUses }, minimum, 1000)
  return key
})

/** Brings them in, by an invite of the owner's. */
export const enlist = Effect.fnUntraced(function* (roomId: string, owner: string, user: string, role: Role, n = 1) {
  const { accept: join } = yield* InviteStore
  const invite = yield* makeInvite(roomId, owner, role)
  return yield* join(roomId, invite, by(user, n), ms())
})

/** A room of ann's, with bob as a member and eve as a viewer. */
export const inRoom = Effect.gen(function* () {
  const roomId = yield* makeRoom("ann")
  yield* enlist(roomId, "ann", "bob", "member")
  yield* enlist(roomId, "ann", "eve", "viewer")
  return roomId
})

export const draft = (roomId: string, author: string, more: Partial<NewMessage> = {}): NewMessage => ({
  messageId: id(),
  roomId,
  threadId: null,
  author,
  kind: "chat",
  body: "hello",
  at: at(),
  key: undefined,
  ...more
})

export const send = (roomId: string, author: string, more: Partial<NewMessage> = {}) =>
  Effect.flatMap(MessageStore, (_) => _.send(draft(roomId, author, more)))

export const makeThread = Effect.fnUntraced(function* (roomId: string, user: string, n = 0, title = "a thread") {
  const { create: createThread } = yield* ThreadStore
  const thread = { threadId: id(), roomId, title, category: null, archived: false, createdAt: at(n) }
  return yield* createThread(thread, by(user, n))
})

export const tagOf = <A, E extends { readonly _tag: string }, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.flip(effect), ({ _tag }) => _tag)

const standing = (roomId: string) =>
  Effect.gen(function* () {
    const { get: room } = yield* RoomStore
    const { pending: unsent } = yield* Outbox
    const snapshot = yield* Effect.catchTag(room(roomId), "RoomNotFound", () => Effect.succeed(undefined))
    return {
      changeNumber: snapshot?.changeNumber,
      kept: (yield* unsent(roomId, 0)).map(({ changeNumber }) => changeNumber)
    }
  })

/** It fails with this error, and neither the room's revision nor its kept changes moved. */
export const refuses = <A, E extends { readonly _tag: string }, R>(
  roomId: string,
  tag: string,
  effect: Effect.Effect<A, E, R>
) =>
  Effect.gen(function* () {
    const before = yield* standing(roomId)
    const error = yield* Effect.flip(effect)
    assert.strictEqual(error._tag, tag)
    assert.deepEqual(yield* standing(roomId), before)
    return error
  })

/** It succeeds, tells nothing, and counts nothing. */
export const changesNothing = <A, E, R>(roomId: string, effect: Effect.Effect<Committed<A>, E, R>) =>
  Effect.gen(function* () {
    const before = yield* standing(roomId)
    const { changes, value } = yield* effect
    assert.deepEqual(changes, [])
    assert.deepEqual(yield* standing(roomId), before)
    return value
  })

/** It is one change of the room: it counts one revision, is kept until it is told, and says this. */
export const changes = <A, E, R>(
  roomId: string,
  effect: Effect.Effect<Committed<A>, E, R>,
  said: (value: A) => { readonly event: unknown; readonly at: string; readonly subject?: string }
) =>
  Effect.gen(function* () {
    const { pending: unsent } = yield* Outbox
    const before = yield* standing(roomId)
    const { changes, value } = yield* effect
    const [change] = changes
    if (change === undefined || before.changeNumber === undefined) return assert.fail("no change")
    const { event, ...rest } = said(value)
    assert.lengthOf(changes, 1)
    assert.deepEqual(JSON.parse(change.event), JSON.parse(JSON.stringify(event)))
    assert.strictEqual(change.type, JSON.parse(change.event).type)
    assert.deepInclude(change, { roomId, changeNumber: before.changeNumber + 1, subject: "", ...rest })
    const { kept, changeNumber } = yield* standing(roomId)
    if (changeNumber !== undefined) assert.strictEqual(changeNumber, change.changeNumber)
    assert.deepEqual(kept, [...before.kept, change.changeNumber])
    assert.deepEqual(yield* unsent(roomId, before.changeNumber), [change])
    return value
  })
