// The buffered stores over memory, whatever is written, read and flushed, by however many flushers that die between any
// two of their steps, with the buffer or Postgres away now and then: what was acknowledged is what is there in the end.
// HOTPATH_BUFFER_SEED replays a run, whose seed is printed; HOTPATH_BUFFER_RUNS says how many.

import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Fiber, Schema } from "effect"
import { TestClock } from "effect/testing"
import type { Publisher } from "../../../src/storage/rooms/Committed.ts"
import { makeInstance, makeShared } from "../../support/BufferLayers.ts"
import { BufferModel, newRoom } from "../../support/BufferModel.ts"
import { HandFlusher } from "../../support/HandFlusher.ts"
import { makeRandom } from "../../support/Random.ts"
import { at, by, id, noPublisher } from "../../support/RoomStores.ts"
import { rounds } from "../../support/Soak.ts"

const seed = Number(process.env["HOTPATH_BUFFER_SEED"] ?? Math.floor(Math.random() * 2 ** 31))
const runs = Number(process.env["HOTPATH_BUFFER_RUNS"] ?? rounds(50, 1000))
const intervalMs = 5000
const leaseMs = 15_000

const Step = Schema.Struct({
  what: Schema.Literals([
    "update",
    "update",
    "update stale",
    "update ahead",
    "update named",
    "switch",
    "send",
    "send",
    "send with key",
    "edit",
    "edit",
    "delete",
    "react",
    "unreact",
    "read",
    "read",
    "flush",
    "flush step",
    "flush step",
    "flush step",
    "flush step all",
    "flush room",
    "crash",
    "time",
    "long time",
    "buffer away",
    "buffer back",
    "buffer empty",
    "durable away",
    "durable back"
  ]),
  /** Which instance is asked, or loses its way. */
  who: Schema.Literals([0, 1]),
  /** What else goes on meanwhile. */
  beside: Schema.Literals(["nothing", "nothing", "flush", "two flushes", "flush step"]),
  one: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 5 })),
  other: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 5 }))
})
type Step = typeof Step.Type

const users = ["ann", "bob"]
const names = ["main", "notes"]
const nth = <A>(from: ReadonlyArray<A>, n: number): A => from.slice(n % from.length)[0] as A

/** The clock goes on as long as it takes: who waits for another's hold to end would wait for ever. */
const ticking = Effect.fnUntraced(function* <A, E, R>(effect: Effect.Effect<A, E, R>) {
  const fiber = yield* Effect.forkChild(effect, { startImmediately: true })
  for (let turns = 0; fiber.pollUnsafe() === undefined; turns++) {
    if (turns % 200 === 199) yield* TestClock.adjust(50)
    else yield* Effect.yieldNow
  }
  return yield* Fiber.join(fiber)
})

const makeWorld = Effect.fnUntraced(function* (pauseSeed: number, count: number) {
  const random = makeRandom(pauseSeed)
  const shared = yield* makeShared(intervalMs)
  const instances = yield* Effect.forEach(Array.from({ length: count }), () =>
    makeInstance(shared, () => random.below(4))
  )
  const { durable } = shared
  const rooms = [newRoom(id()), newRoom(id())]
  for (const { roomId } of rooms) {
    yield* durable.rooms.create({ roomId, title: "a room", owner: "ann", autoAssign: false, createdAt: at() })
    const key = { inviteId: id(), secretHash: id() }
    const invite = {
      ...key,
      roomId,
      role: "member" as const,
      createdBy: "ann",
      createdAt: 0,
      expiresAt: undefined,
      maxUses: 1
    }
    yield* durable.invites.create(invite, "owner", 10)
    yield* durable.invites.accept(roomId, key, by("bob"), 0)
  }
  const model = new BufferModel(instances, rooms)
  const hands = [0, 1, 2].map((n) => new HandFlusher(nth(instances, n)))

  const setAway = (isAway: boolean, which: "buffer" | "durable", of: typeof instances) =>
    Effect.map(Clock.currentTimeMillis, (now) => {
      for (const { away } of of) away[which] = isAway
      model.readsFrom = now + 5000
    })

  const act = ({ one, other, what, who }: Step): Effect.Effect<unknown, unknown, Publisher> => {
    model.asked = who
    const asked = nth(instances, who)
    const { flusher } = asked
    const room = nth(rooms, one)
    const user = nth(users, other)
    const hand = nth(hands, one)
    switch (what) {
      case "update":
        return model.update(room, user, undefined, 0)
      case "update stale":
        return model.update(room, user, undefined, -1 - (other % 2))
      case "update ahead":
        return model.update(room, user, undefined, 1 + (other % 3))
      case "update named":
        return model.update(room, user, nth(names, other), (one % 3) - 1)
      case "switch":
        return model.switch(room, user, nth(names, other))
      case "send":
      case "send with key":
        return model.send(room, user, what === "send" ? undefined : `k${other % 3}`)
      case "edit":
      case "delete":
      case "react":
      case "unreact":
        return model.change(room, user, one + other, what)
      case "read":
        return model.read(room, other % 2 === 0 ? undefined : nth(names, one), 1 + other * 3)
      case "flush":
        return Effect.ignore(flusher.flush(other > 2))
      case "flush step":
        return Effect.ignore(hand.step(false, leaseMs))
      case "flush step all":
        return Effect.ignore(hand.step(true, leaseMs))
      case "flush room":
        return Effect.ignore(flusher.flushRoom(room.roomId))
      case "crash":
        return Effect.sync(() => hand.crash())
      case "time":
        return TestClock.adjust(700 * (1 + other))
      case "long time":
        return TestClock.adjust(leaseMs)
      case "buffer away":
      case "buffer back":
        return setAway(what === "buffer away", "buffer", [asked])
      case "buffer empty":
        return Effect.andThen(setAway(false, "buffer", []), Effect.sync(shared.restart))
      // For all: where one reaches only the buffer and another only Postgres, both go on.
      case "durable away":
      case "durable back":
        return setAway(what === "durable away", "durable", instances)
    }
  }

  const meanwhile = ({ beside, other, who }: Step): ReadonlyArray<Effect.Effect<unknown>> => {
    const { flusher } = nth(instances, who)
    switch (beside) {
      case "nothing":
        return []
      case "flush":
        return [Effect.ignore(flusher.flush(true))]
      case "two flushes":
        return [Effect.ignore(flusher.flush(true)), Effect.ignore(flusher.flush(true))]
      case "flush step":
        return [Effect.ignore(nth(hands, other).step(true, leaseMs))]
    }
  }

  return {
    model,
    step: Effect.fnUntraced(function* (step: Step) {
      // No two things are acknowledged at the same time.
      yield* TestClock.adjust(2)
      yield* ticking(Effect.all([act(step), ...meanwhile(step)], { concurrency: "unbounded" }))
      yield* model.look
    }),
    end: Effect.gen(function* () {
      yield* setAway(false, "buffer", instances)
      yield* setAway(false, "durable", instances)
      yield* TestClock.adjust(2 * leaseMs)
      for (const { flusher } of instances) yield* flusher.flush(true)
      yield* model.look
      yield* model.isAllThere
      for (const room of rooms) yield* model.read(room, undefined, 100)
    })
  }
})

for (const count of [1, 2]) {
  describe(`the buffered stores, instances: ${count}`, () => {
    const total = { documents: 0, messages: 0, changes: 0, switches: 0, reads: 0 }
    it.effect.prop(
      "what was acknowledged is there in the end, whatever happened",
      [
        Schema.Array(Step).check(Schema.isMinLength(30), Schema.isMaxLength(120)),
        Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 1e6 }))
      ],
      ([steps, pauseSeed]) =>
        Effect.gen(function* () {
          const { end, model, step } = yield* makeWorld(pauseSeed, count)
          for (const one of steps) yield* step(one)
          yield* end
          for (const what of Object.keys(total) as ReadonlyArray<keyof typeof total>)
            total[what] += model.acknowledged[what]
        }).pipe(Effect.scoped, Effect.provide(noPublisher)),
      { arbitrary: { runs: Math.ceil(runs / count ** 2), seed, size: 120 }, timeout: 600_000 }
    )
    it("has done something of everything", () => {
      console.log(`HOTPATH_BUFFER_SEED=${seed} HOTPATH_BUFFER_RUNS=${runs}: ${JSON.stringify(total)}`)
      for (const done of Object.values(total)) assert.isAbove(done, runs / count ** 2 / 10)
    })
  })
}
