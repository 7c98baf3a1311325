// Whatever is done to it in whatever order, the stores in memory answer as those in PostgreSQL do.

import { assert, describe, layer } from "@effect/vitest"
import { Context, Effect, Layer, Result, Schema } from "effect"
import type { RoomChange } from "../../src/domain/RoomEvent.ts"
import type { Publisher } from "../../src/storage/rooms/Committed.ts"
import type { MessagePage } from "../../src/storage/rooms/MessageStore.ts"
import { patienceMs } from "../support/Patience.ts"
import { allStores, at, by, id, ms, noPublisher, type Stores, storeKinds } from "../support/RoomStores.ts"
import { rounds } from "../support/Soak.ts"

/** A page without its places, which are times. */
const shown = <E>(read: Effect.Effect<MessagePage, E>) => Effect.map(read, ({ messages, more }) => ({ messages, more }))

class Twins extends Context.Service<Twins, { readonly memory: Stores; readonly postgres: Stores }>()("test/Twins") {
  static readonly layer = Layer.effect(
    Twins,
    Effect.gen(function* () {
      const memory = yield* Effect.provideContext(allStores, yield* Layer.build(storeKinds.memory))
      const postgres = yield* Effect.provideContext(allStores, yield* Layer.build(storeKinds.PostgreSQL))
      return { memory, postgres }
    })
  )
}

// A small world, so that operations meet.
const user = Schema.Literals(["ann", "bob", "cat"])
const role = Schema.Literals(["owner", "member", "viewer"])
const two = Schema.Literals([0, 1])
const of = <Tag extends string, Fields extends Schema.Struct.Fields>(tag: Tag, fields: Fields) =>
  Schema.Struct({ _tag: Schema.Literal(tag), user, ...fields })

const Operation = Schema.Union([
  of("invite", { role, maxUses: Schema.Literals([1, 2]) }),
  of("join", { which: two }),
  of("enlist", { role }),
  of("revoke", { which: two }),
  of("remove", { other: user }),
  of("thread", {}),
  of("change", { which: two, title: Schema.Literals(["a", "b"]), archived: Schema.Boolean }),
  of("send", { key: Schema.Literals(["", "k", "l"]), which: Schema.Literals([-1, 0, 1]) }),
  of("edit", { which: two, body: Schema.Literals(["a", "b"]) }),
  of("delete", { which: two }),
  of("react", { which: two, emoji: Schema.Literals(["👍", "x"]), adds: Schema.Boolean }),
  of("page", { which: two, limit: Schema.Literals([1, 3]), inThread: Schema.Boolean }),
  of("generation", {}),
  of("sent", { changeNumber: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 9 })) }),
  of("end", { really: Schema.Literals([1, 2, 3, 4, 5, 6, 7, 8]) })
])
type Operation = typeof Operation.Type

interface World {
  readonly roomId: string
  readonly invites: Array<string>
  readonly threads: Array<string>
  readonly messages: Array<string>
}

const nth = (names: ReadonlyArray<string>, which: number) => names.at(-1 - which) ?? "none"

/** The operation with its new names, ready to be done by either. */
const prepare = (world: World, operation: Operation, n: number) => {
  const { roomId } = world
  const one = by(operation.user, n)
  const made = (names: Array<string>) => {
    const name = id()
    names.push(name)
    return name
  }
  const key = (inviteId: string) => ({ inviteId, secretHash: "hash" })
  type Run = (_: Stores) => Effect.Effect<unknown, { readonly _tag: string }, Publisher>
  const prepared = (run: Run) => run
  switch (operation._tag) {
    case "invite":
    case "enlist": {
      const invite = {
        ...key(made(world.invites)),
        roomId,
        role: operation.role,
        createdBy: operation._tag === "invite" ? operation.user : "ann",
        createdAt: ms(n),
        expiresAt: undefined,
        maxUses: operation._tag === "invite" ? operation.maxUses : undefined
      }
      return prepared((_) =>
        Effect.andThen(
          _.invites.create(invite, operation.role === "owner" ? "owner" : "member", 5),
          operation._tag === "invite" ? Effect.void : _.invites.accept(roomId, invite, one, ms())
        )
      )
    }
    case "join": {
      const invite = key(nth(world.invites, operation.which))
      return prepared((_) =>
        Effect.all([
          Effect.option(_.invites.roleFor(roomId, invite, operation.user, ms())),
          _.invites.accept(roomId, invite, one, ms())
        ])
      )
    }
    case "revoke":
      return prepared((_) => _.invites.revoke(roomId, key(nth(world.invites, operation.which)), one))
    case "remove":
      return prepared((_) => _.members.remove(roomId, operation.other, one))
    case "thread": {
      const thread = { threadId: made(world.threads), roomId, title: "a", category: null, archived: false }
      return prepared((_) => _.threads.create({ ...thread, createdAt: at(n) }, one))
    }
    case "change": {
      const { archived, title, which } = operation
      return prepared((_) => _.threads.change(roomId, nth(world.threads, which), { title, archived }, one))
    }
    case "send": {
      const threadId = operation.which === -1 ? null : nth(world.threads, operation.which)
      const text = {
        kind: "chat",
        body: "a",
        at: at(n),
        key: operation.key === "" ? undefined : operation.key
      } as const
      const message = { messageId: made(world.messages), roomId, threadId, author: operation.user, ...text }
      return prepared((_) => _.messages.send(message))
    }
    case "edit":
      return prepared((_) => _.messages.edit(roomId, nth(world.messages, operation.which), operation.body, one))
    case "delete":
      return prepared((_) => _.messages.delete(roomId, nth(world.messages, operation.which), one))
    case "react": {
      const { adds, emoji, which } = operation
      return prepared((_) => _.messages.react(roomId, nth(world.messages, which), emoji, adds, one))
    }
    case "page": {
      const threadId = operation.inThread ? nth(world.threads, 0) : undefined
      const before = nth(world.messages, operation.which)
      return prepared((_) => shown(_.messages.page(roomId, { limit: operation.limit, before, threadId })))
    }
    case "generation":
      return prepared((_) => _.rooms.advanceEpoch(roomId))
    case "sent":
      return prepared((_) => _.outbox.remove([{ roomId, changeNumber: operation.changeNumber }]))
    case "end":
      return prepared((_) => (operation.really === 1 ? _.rooms.delete(roomId, one) : Effect.void))
  }
}

const state = (_: Stores, { roomId, invites }: World) =>
  Effect.all({
    room: Effect.result(_.rooms.get(roomId)),
    participants: _.members.list(roomId),
    threads: _.threads.list(roomId, undefined),
    messages: shown(_.messages.page(roomId, { limit: 100 })),
    unsent: _.outbox.pending(roomId, 0),
    invites: Effect.map(_.invites.list(roomId, { limit: 100 }), ({ items }) => items),
    invited: Effect.forEach(invites, (inviteId) =>
      Effect.forEach(user.literals, (one) =>
        Effect.result(_.invites.roleFor(roomId, { inviteId, secretHash: "hash" }, one, ms()))
      )
    )
  })

const isChange = (value: unknown): value is RoomChange =>
  typeof value === "object" && value !== null && "event" in value
/** An event's text says the same in whatever order of its keys. */
const plain = (value: unknown): unknown =>
  JSON.parse(
    JSON.stringify(value, (_, inner: unknown) =>
      isChange(inner) ? { ...inner, event: JSON.parse(inner.event) } : inner
    )
  )
const answer = <A, E>(effect: Effect.Effect<A, E>) =>
  Effect.map(Effect.result(effect), (result) =>
    plain(Result.isSuccess(result) ? { value: result.success } : { error: result.failure })
  )

describe("the room stores in memory", () => {
  layer(Twins.layer, { timeout: patienceMs, excludeTestServices: true })((it) => {
    it.effect.prop(
      "answers as PostgreSQL does, step by step",
      [Schema.Array(Operation).check(Schema.isMinLength(10), Schema.isMaxLength(40))],
      ([operations]) =>
        Effect.gen(function* () {
          const { memory, postgres } = yield* Twins
          const answered = (run: ReturnType<ReturnType<typeof prepare>>) => answer(Effect.provide(run, noPublisher))
          const world: World = { roomId: id(), invites: [], threads: [], messages: [] }
          const room = { roomId: world.roomId, title: "t", owner: "ann", autoAssign: false, createdAt: at() }
          yield* memory.rooms.create(room)
          yield* postgres.rooms.create(room)
          for (const [n, operation] of operations.entries()) {
            const run = prepare(world, operation, n + 1)
            const what = `${n}: ${JSON.stringify(operation)}`
            assert.deepEqual(yield* answered(run(memory)), yield* answered(run(postgres)), what)
          }
          assert.deepEqual(yield* answer(state(memory, world)), yield* answer(state(postgres, world)))
        }),
      { arbitrary: { runs: rounds(50, 1000) } }
    )
  })
})
