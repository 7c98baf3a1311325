// Every layer of the repository, and what its suites say over and over.
import { randomUUID } from "node:crypto"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, describe, layer, type Vitest } from "@effect/vitest"
import { Duration, Effect, Layer, Logger, Redacted } from "effect"
import type { Role } from "../../src/domain/Room.ts"
import * as PostgresEmbedded from "../../src/infra/postgres/PostgresEmbedded.ts"
import * as Postgres from "../../src/infra/postgres/PostgresServer.ts"
import * as RepositoryMemory from "../../src/storage/rooms/memory/RepositoryMemory.ts"
import { type Committed, type InviteKey, type NewMessage, Repository } from "../../src/storage/rooms/Repository.ts"
import * as RepositoryPostgres from "../../src/storage/rooms/RepositoryPostgres.ts"
import { freshDatabase } from "./Databases.ts"

const timeout = Duration.seconds(20)

const server = Layer.unwrap(
  Effect.map(
    Effect.promise(() => freshDatabase()),
    (url) => Postgres.layer({ url: Redacted.make(url), timeout })
  )
)

// With the database beside it, where there is one, for what would take too many writes to come to.
export const repositories = {
  memory: RepositoryMemory.layer,
  embedded: RepositoryPostgres.layer.pipe(
    Layer.provideMerge(PostgresEmbedded.layer({ dataDir: "memory://", timeout })),
    Layer.provide(NodeServices.layer)
  ),
  PostgreSQL: Layer.provideMerge(RepositoryPostgres.layer, server)
}

/** The suite, once a layer. */
export const overRepositories = (what: string, suite: (it: Vitest.MethodsNonLive<Repository>) => void) => {
  for (const [name, repository] of Object.entries(repositories)) {
    describe(`${what}: ${name}`, () => {
      layer<Repository, unknown>(Layer.provideMerge(repository, Logger.layer([])), {
        timeout: "60 seconds",
        excludeTestServices: true
      })(suite)
    })
  }
}

const epoch = 1_750_000_000_123

export const id = (): string => randomUUID()
/** A time, `n` milliseconds after the first. */
export const at = (n = 0): string => new Date(epoch + n).toISOString()
export const ms = (n = 0): number => epoch + n
export const by = (user: string, n = 0) => ({ user, at: at(n) })

/** A room that `owner` made. */
export const makeRoom = Effect.fnUntraced(function* (owner: string, n = 0) {
  const { createRoom } = yield* Repository
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
  const { createInvite } = yield* Repository
  const key: InviteKey = { inviteId: id(), secretHash: id() }
  const allowed: ReadonlyArray<Role> = role === "owner" ? ["owner"] : ["owner", "member"]
  const { expiresAt, maxUses } = more
  yield* createInvite({ ...key, roomId, role, createdBy, createdAt: ms(), expiresAt, maxUses }, allowed, 1000)
  return key
})

/** Brings them in, by an invite of the owner's. */
export const enlist = Effect.fnUntraced(function* (roomId: string, owner: string, user: string, role: Role, n = 1) {
  const { join } = yield* Repository
  const invite = yield* makeInvite(roomId, owner, role)
  return yield* join(roomId, invite, by(user, n), ms())
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
  Effect.flatMap(Repository, (_) => _.sendMessage(draft(roomId, author, more)))

export const makeThread = Effect.fnUntraced(function* (roomId: string, user: string, n = 0, title = "a thread") {
  const { createThread } = yield* Repository
  const thread = { threadId: id(), roomId, title, category: null, archived: false, createdAt: at(n) }
  return yield* createThread(thread, by(user, n))
})

export const tagOf = <A, E extends { readonly _tag: string }, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.flip(effect), ({ _tag }) => _tag)

const standing = (roomId: string) =>
  Effect.gen(function* () {
    const { room, unsent } = yield* Repository
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
    const { unsent } = yield* Repository
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
