// One suite over every layer of RoomBus: memory of one instance and of several, a real Redis, a Redis Cluster.
import { randomUUID } from "node:crypto"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { Effect, Exit, Option, Schema, Scope } from "effect"
import {
  type BusEvent,
  maxQueued,
  type RoomBus,
  type RoomSignal,
  type SequencedEvent
} from "../../src/cluster/rooms/RoomBus.ts"
import { retention } from "../../src/infra/redis/RoomLog.ts"
import { change, changesOf, instanceOf, passing, received, roomKinds } from "../support/RoomInstances.ts"
import type { RunningServer } from "../support/Servers.ts"
import { rounds } from "../support/Soak.ts"

type Bus = RoomBus["Service"]

const upTo = (last: number) => Array.from({ length: last }, (_, n) => n + 1)
const seqs = (events: ReadonlyArray<SequencedEvent>) => events.map(({ seq }) => seq)
const changeNumbers = (events: ReadonlyArray<SequencedEvent>) => events.map(({ changeNumber }) => changeNumber)

for (const [kind, start] of Object.entries(roomKinds)) {
  describe(`RoomBus: ${kind}`, () => {
    let server: RunningServer | undefined
    beforeAll(async () => {
      server = await start?.()
    })
    afterAll(() => server?.stop())
    const open = Effect.suspend(() => Effect.map(instanceOf(kind, server), ({ bus }): Bus => bus))

    it.live("numbers what is published and what passes, without a gap, and keeps and brings it as it was", () =>
      Effect.gen(function* () {
        const bus = yield* open
        const roomId = randomUUID()
        yield* bus.receive(roomId)
        const changes = [change(roomId, 1), change(roomId, 2, "member.joined", "größe 😀"), change(roomId, 3)]
        const events = [passing("presence.joined", "b"), passing("generate.delta", "", { text: `"\n\\` })]
        assert.isUndefined((yield* bus.publish(roomId, 0, changes, false)).missingAfter)
        yield* bus.emit(roomId, events)
        yield* bus.publish(roomId, 0, changesOf(roomId, 4), false)
        const all = [...changes, ...events.map((event) => ({ ...event, changeNumber: 0 })), change(roomId, 4)]
        const { epoch, ...history } = yield* bus.history(roomId, 0, 0, 100)
        const wanted = all.map(({ at, event, changeNumber, subject, type }, n) => ({
          seq: n + 1,
          changeNumber,
          at,
          type,
          subject,
          event
        }))
        assert.deepEqual(history, { seq: 6, changeNumber: 4, events: wanted, isWhole: true })
        assert.match(epoch, /^[0-9a-z-]{1,40}$/)
        assert.deepEqual(
          yield* received(bus, roomId, 6),
          wanted.map((one) => ({ ...one, roomId, epoch }))
        )
      }).pipe(Effect.scoped)
    )

    it.live("gives a change one seq, however often it is published", () =>
      Effect.gen(function* () {
        const bus = yield* open
        const roomId = randomUUID()
        yield* bus.receive(roomId)
        const batches = [[1, 2], [1, 2], [2, 3, 4], [3], [1, 2, 3, 4, 5], [5]]
        for (const batch of batches) {
          assert.isUndefined((yield* bus.publish(roomId, 0, changesOf(roomId, ...batch), false)).missingAfter)
        }
        const { events, changeNumber, seq } = yield* bus.history(roomId, 0, 0, 100)
        assert.deepEqual([seq, changeNumber], [5, 5])
        assert.deepEqual(seqs(events), upTo(5))
        assert.deepEqual(changeNumbers(events), upTo(5))
        // Repeated changes are not published.
        yield* bus.emit(roomId, [passing("generate.delta")])
        assert.deepEqual(changeNumbers(yield* received(bus, roomId, 6)), [...upTo(5), 0])
      }).pipe(Effect.scoped)
    )

    it.live("takes nothing from where changes are missing, unless they don't exist", () =>
      Effect.gen(function* () {
        const bus = yield* open
        const roomId = randomUUID()
        yield* bus.receive(roomId)
        const publish = (force: boolean, ...batch: ReadonlyArray<number>) =>
          Effect.map(bus.publish(roomId, 0, changesOf(roomId, ...batch), force), (_) => _.missingAfter)
        assert.strictEqual(yield* publish(false, 2, 3), 0)
        assert.deepEqual((yield* bus.history(roomId, 0, 0, 100)).events, [])
        assert.isUndefined(yield* publish(false, 1, 2))
        assert.strictEqual(yield* publish(false, 3, 5, 6), 3)
        assert.strictEqual(yield* publish(false, 2, 6), 3)
        assert.deepEqual(changeNumbers((yield* bus.history(roomId, 0, 0, 100)).events), [1, 2, 3])
        assert.isUndefined(yield* publish(true, 2, 5, 8))
        assert.strictEqual(yield* publish(false, 10), 8)
        assert.isUndefined(yield* publish(false, 7, 8, 9))
        const { events } = yield* bus.history(roomId, 0, 0, 100)
        assert.deepEqual(changeNumbers(events), [1, 2, 3, 5, 8, 9])
        assert.deepEqual(seqs(events), upTo(6))
        assert.deepEqual(seqs(yield* received(bus, roomId, 6)), upTo(6))
      }).pipe(Effect.scoped)
    )

    const Step = Schema.Struct({
      batch: Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 12 }))),
      passing: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 2 })),
      force: Schema.Boolean
    })
    it.live.prop(
      "counts as its model does, whatever is published",
      [Schema.Array(Step)],
      ([steps]) =>
        Effect.gen(function* () {
          const bus = yield* open
          const roomId = randomUUID()
          let last = 0
          const expected: Array<number> = []
          for (const { batch, force, passing: count } of steps) {
            let missing: number | undefined
            for (const changeNumber of batch) {
              if (changeNumber <= last) continue
              if (changeNumber !== last + 1 && !force) {
                missing = last
                break
              }
              last = changeNumber
              expected.push(changeNumber)
            }
            const published = yield* bus.publish(roomId, 0, changesOf(roomId, ...batch), force)
            assert.deepEqual(published, { missingAfter: missing })
            yield* bus.emit(
              roomId,
              Array.from({ length: count }, () => passing("presence.left"))
            )
            expected.push(...Array.from({ length: count }, () => 0))
          }
          const { events, changeNumber, seq } = yield* bus.history(roomId, 0, 0, 1000)
          assert.deepEqual([seq, changeNumber], [expected.length, last])
          assert.deepEqual(changeNumbers(events), expected)
          assert.deepEqual(seqs(events), upTo(expected.length))
        }).pipe(Effect.scoped),
      { arbitrary: { runs: rounds(15, 300) } }
    )

    it.live("says what came after a number, and whether that is all", () =>
      Effect.gen(function* () {
        const bus = yield* open
        const roomId = randomUUID()
        yield* bus.receive(roomId)
        yield* bus.publish(roomId, 0, changesOf(roomId, ...upTo(10)), false)
        const history = (after: number, limit: number) =>
          Effect.map(bus.history(roomId, 0, after, limit), (_) => [seqs(_.events), _.isWhole, _.seq] as const)
        assert.deepEqual(yield* history(7, 10), [[8, 9, 10], true, 10])
        assert.deepEqual(yield* history(7, 3), [[8, 9, 10], true, 10])
        assert.deepEqual(yield* history(7, 2), [[8, 9], false, 10])
        assert.deepEqual(yield* history(10, 5), [[], true, 10])
        assert.deepEqual(yield* history(11, 5), [[], false, 10])
        assert.deepEqual(yield* history(0, 0), [[10], false, 10])
        assert.deepEqual(yield* history(10, 0), [[10], false, 10])
      }).pipe(Effect.scoped)
    )

    it.live("keeps so many events of a room, about, and does not pass for whole what was trimmed", () =>
      Effect.gen(function* () {
        const bus = yield* open
        const roomId = randomUUID()
        yield* bus.receive(roomId)
        const last = retention.events + 400
        for (let n = 0; n < last; n += 200) {
          yield* bus.publish(roomId, 0, changesOf(roomId, ...upTo(200).map((m) => n + m)), false)
        }
        const all = yield* bus.history(roomId, 0, 0, 10_000)
        assert.isFalse(all.isWhole)
        assert.isAtLeast(all.events.length, retention.events)
        assert.isAtMost(all.events.length, retention.events + 110)
        assert.deepEqual(seqs(all.events), upTo(last).slice(-all.events.length))
        const first = all.events[0]?.seq ?? 0
        assert.isTrue((yield* bus.history(roomId, 0, first - 1, 10_000)).isWhole)
        assert.isFalse((yield* bus.history(roomId, 0, first - 2, 10_000)).isWhole)
        assert.isTrue((yield* bus.history(roomId, 0, last - retention.events, retention.events)).isWhole)
      }).pipe(Effect.scoped)
    )

    it.live("begins another epoch with a higher epoch counter only, and counts on in it", () =>
      Effect.gen(function* () {
        const bus = yield* open
        const roomId = randomUUID()
        yield* bus.receive(roomId)
        const epochs: Array<string> = []
        const look = Effect.map(bus.history(roomId, 0, 0, 0), ({ epoch }) => epochs.push(epoch))
        yield* bus.publish(roomId, 1, changesOf(roomId, 1), false)
        yield* look
        yield* bus.publish(roomId, 2, changesOf(roomId, 2), false)
        yield* look
        // Also when all changes were published before, or when only its history is read.
        yield* bus.publish(roomId, 3, changesOf(roomId, 2), false)
        yield* look
        yield* bus.history(roomId, 4, 0, 0)
        yield* look
        assert.lengthOf([...new Set(epochs)], 4)
        const known = epochs.length
        for (const epochCounter of [4, 1, 0]) {
          yield* bus.publish(roomId, epochCounter, changesOf(roomId, 2), false)
          yield* bus.history(roomId, epochCounter, 0, 0)
          yield* bus.emit(roomId, [passing("presence.left")])
          yield* look
        }
        assert.deepEqual([...new Set(epochs.slice(known))], epochs.slice(known - 1, known))
        yield* bus.publish(roomId, 4, changesOf(roomId, 3), false)
        const { epoch, events, changeNumber, seq } = yield* bus.history(roomId, 0, 0, 100)
        assert.deepEqual([seq, changeNumber], [6, 3])
        assert.deepEqual(changeNumbers(events), [1, 2, 0, 0, 0, 3])
        const taken = yield* received(bus, roomId, 6)
        assert.deepEqual(
          taken.map((event) => epochs.indexOf(event.epoch)),
          [0, 1, 3, 3, 3, 3]
        )
        assert.strictEqual((yield* bus.versions(roomId))?.epoch, epoch)
      }).pipe(Effect.scoped)
    )

    it.live("says up to when each part of a room changed", () =>
      Effect.gen(function* () {
        const bus = yield* open
        const roomId = randomUUID()
        yield* bus.receive(roomId)
        assert.isUndefined(yield* bus.versions(roomId))
        assert.isUndefined(yield* bus.versions(roomId))
        const { epoch } = yield* bus.history(roomId, 0, 0, 0)
        const parts = { messages: 0, threads: 0, people: 0 }
        assert.deepEqual(yield* bus.versions(roomId), { epoch, ...parts })
        const typesOf = {
          messages: ["message.sent", "message.edited", "message.deleted", "message.reacted"],
          threads: ["thread.created", "thread.changed"],
          people: ["member.joined", "member.left"],
          none: ["presence.joined", "presence.left", "generate.delta", "document.updated", "document.switched"]
        } as const
        let seq = 0
        for (const part of ["messages", "none", "threads", "people", "none", "messages"] as const) {
          for (const type of typesOf[part]) {
            if (type.startsWith("presence") || type === "generate.delta") yield* bus.emit(roomId, [passing(type)])
            else yield* bus.publish(roomId, 0, [change(roomId, seq + 1, type)], true)
            seq++
            if (part !== "none") parts[part] = seq
            assert.deepEqual(yield* bus.versions(roomId), { epoch, ...parts })
          }
        }
        yield* bus.publish(roomId, 0, [change(roomId, 100, "room.deleted")], true)
        seq++
        assert.deepEqual(yield* bus.versions(roomId), { epoch, messages: seq, threads: seq, people: seq })
        // What was known already changes nothing.
        yield* bus.publish(roomId, 0, changesOf(roomId, 1, 2), false)
        assert.deepEqual(yield* bus.versions(roomId), { epoch, messages: seq, threads: seq, people: seq })
      }).pipe(Effect.scoped)
    )

    it.live("brings the events of rooms that are received, and of no others", () =>
      Effect.gen(function* () {
        const bus = yield* open
        const [here, other] = [randomUUID(), randomUUID()]
        yield* bus.receive(here)
        // Received twice, and once again.
        yield* Effect.scoped(bus.receive(here))
        const scope = yield* Scope.make()
        yield* Scope.provide(bus.receive(other), scope)
        const emit = (roomId: string) => bus.emit(roomId, [passing("generate.delta")])
        const all: Array<BusEvent> = []
        const untilHere = Effect.gen(function* () {
          yield* emit(here)
          const count = all.filter(({ roomId }) => roomId === here).length + 1
          while (all.filter(({ roomId }) => roomId === here).length < count) all.push(...(yield* bus.take))
        })
        yield* emit(other)
        yield* untilHere
        yield* Scope.close(scope, Exit.void)
        yield* emit(other)
        yield* untilHere
        assert.deepEqual(all.map(({ roomId, seq }) => [roomId === here ? "here" : "other", seq]).sort(), [
          ["here", 1],
          ["here", 2],
          ["other", 1]
        ])
      }).pipe(Effect.scoped)
    )

    it.live("brings the signals of these rooms apart from their events, as they were sent", () =>
      Effect.gen(function* () {
        const bus = yield* open
        const [here, other] = [randomUUID(), randomUUID()]
        yield* bus.receive(here)
        const signal = (roomId: string, name: string) => {
          return { roomId, connectionId: randomUUID(), name, params: JSON.stringify({ roomId, text: "a\nb ~é😀" }) }
        }
        const [one, two] = [signal(here, 'a "name"'), signal(here, "b")]
        for (const each of [one, signal(other, "c"), two]) yield* bus.signal(each)
        yield* bus.emit(here, [passing("generate.delta")])
        const taken: Array<RoomSignal> = []
        while (taken.length < 2) taken.push(...(yield* bus.takeSignals))
        assert.deepEqual(taken, [one, two])
        assert.deepEqual(seqs(yield* received(bus, here, 1)), [1])
      }).pipe(Effect.scoped)
    )

    it.live("drops what waits beyond its bound, and says so by a gap", () =>
      Effect.gen(function* () {
        const bus = yield* open
        const roomId = randomUUID()
        yield* bus.receive(roomId)
        // A subscription that was away before the first one says so once.
        yield* Effect.timeoutOption(bus.gap, "50 millis")
        const batch = Array.from({ length: 1000 }, () => passing("generate.delta"))
        const batches = 2 + maxQueued / batch.length
        for (let n = 0; n < batches; n++) yield* bus.emit(roomId, batch)
        const drain = Effect.gen(function* () {
          let count = 0
          let taken = yield* Effect.timeoutOption(bus.take, "500 millis")
          while (Option.isSome(taken)) {
            count += taken.value.length
            taken = yield* Effect.timeoutOption(bus.take, "500 millis")
          }
          return count
        })
        // The messages of a subscription arrive behind the reply to what published them.
        yield* Effect.sleep("500 millis")
        assert.isAtMost(yield* drain, maxQueued)
        yield* Effect.timeout(bus.gap, "1 second")
        assert.isTrue(Option.isNone(yield* Effect.timeoutOption(bus.gap, "50 millis")))
        // The room's stream has what was dropped, as far as it keeps events; new events come as before.
        assert.strictEqual((yield* bus.history(roomId, 0, 0, 0)).seq, batches * batch.length)
        yield* bus.emit(roomId, [passing("presence.joined")])
        assert.deepEqual(seqs(yield* received(bus, roomId, 1)), [batches * batch.length + 1])
      }).pipe(Effect.scoped)
    )

    it.live("rooms have nothing to do with each other", () =>
      Effect.gen(function* () {
        const bus = yield* open
        const rooms = Array.from({ length: 20 }, () => randomUUID())
        yield* Effect.forEach(
          rooms,
          (roomId, n) =>
            Effect.andThen(
              bus.publish(roomId, 0, changesOf(roomId, ...upTo(n + 1)), false),
              bus.emit(roomId, [passing("presence.joined", "a")])
            ),
          { concurrency: 10 }
        )
        const epochs = new Set<string>()
        for (const [n, roomId] of rooms.entries()) {
          const { epoch, events } = yield* bus.history(roomId, 0, 0, 100)
          epochs.add(epoch)
          assert.deepEqual(changeNumbers(events), [...upTo(n + 1), 0])
        }
        assert.strictEqual(epochs.size, rooms.length)
      }).pipe(Effect.scoped)
    )
  })
}
