// One suite over every layer of WriterLeases: memory, embedded, a real PostgreSQL. Time is the server's: a lease that has to
// run out lasts some milliseconds.
import { randomUUID } from "node:crypto"
import { assert, describe, layer } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { WriterLeases } from "../../src/storage/buffer/WriterLeases.ts"
import { embedded, server } from "../support/DatabaseLayers.ts"
import { patienceMs } from "../support/Patience.ts"
import { untilEffect } from "../support/UntilEffect.ts"

const long = 600_000

const kinds = {
  memory: WriterLeases.layerMemory,
  embedded: WriterLeases.layer.pipe(Layer.provide(embedded)),
  PostgreSQL: WriterLeases.layer.pipe(Layer.provide(server))
}

for (const [kind, leases] of Object.entries(kinds)) {
  describe(`WriterLeases: ${kind}`, () => {
    layer<WriterLeases, unknown>(leases, { timeout: patienceMs, excludeTestServices: true })((it) => {
      /** Two instances. No lease lasts, and none ran out. */
      const two = Effect.gen(function* () {
        const all = yield* WriterLeases
        const [a, b] = [randomUUID(), randomUUID()]
        yield* Effect.addFinalizer(() => Effect.ignore(Effect.andThen(all.release(a), all.release(b))))
        return { ...all, a, b }
      })

      it.effect("remembers which data the buffer was in", () =>
        Effect.gen(function* () {
          const { recordOrigin } = yield* WriterLeases
          const [first, second] = [randomUUID(), randomUUID()]
          yield* recordOrigin(first)
          assert.strictEqual(yield* recordOrigin(first), first)
          assert.strictEqual(yield* recordOrigin(second), first)
          assert.strictEqual(yield* recordOrigin(second), second)
        })
      )

      it.effect("begins a number when no lease lasts, which the others share, and another when all are released", () =>
        Effect.gen(function* () {
          const { a, b, lease, isLeasedElsewhere, release } = yield* two
          const first = yield* lease(a, "run", long)
          assert.deepInclude(first, { isAgreed: true, isWhole: true })
          assert.isAtLeast(first.ageMs, 0)
          assert.isFalse(yield* isLeasedElsewhere(a))
          assert.isTrue(yield* isLeasedElsewhere(b))
          for (const who of [b, a, b]) assert.strictEqual((yield* lease(who, "run", long)).number, first.number)
          yield* release(a)
          assert.strictEqual((yield* lease(a, "run", long)).number, first.number)
          for (const who of [a, b, b]) yield* release(who)
          assert.isFalse(yield* isLeasedElsewhere(a))
          assert.strictEqual((yield* lease(b, "run", long)).number, first.number + 1)
        }).pipe(Effect.scoped)
      )

      it.effect("bypasses the buffer only while no lease lasts, and writes nothing of what is refused", () =>
        Effect.gen(function* () {
          const { a, b, lease, bypass, release } = yield* two
          let written = 0
          const write = Effect.sync(() => ++written)
          assert.strictEqual(yield* bypass(write), 1)
          yield* lease(a, "run", long)
          assert.strictEqual((yield* Effect.flip(bypass(write)))._tag, "BufferLeased")
          yield* lease(b, "run", long)
          yield* release(a)
          assert.strictEqual((yield* Effect.flip(bypass(write)))._tag, "BufferLeased")
          yield* release(b)
          assert.strictEqual(yield* bypass(write), 2)
          assert.strictEqual(yield* Effect.flip(bypass(Effect.fail("its own" as const))), "its own")
        }).pipe(Effect.scoped)
      )

      it.effect("a lease that runs out ends its number, and its instance is missed until it is back", () =>
        Effect.gen(function* () {
          const { a, b, lease, isLeasedElsewhere, bypass, release } = yield* two
          const first = yield* lease(a, "run", 20)
          yield* untilEffect(Effect.filterOrFail(isLeasedElsewhere(b), (is) => !is))
          yield* bypass(Effect.void)
          const next = yield* lease(b, "run", long)
          assert.deepInclude(next, { number: first.number + 1, isAgreed: true, isWhole: false })
          assert.deepInclude(yield* lease(a, "run", long), { number: next.number, isWhole: true })
          yield* release(a)
          assert.isTrue((yield* lease(b, "run", long)).isWhole)
        }).pipe(Effect.scoped)
      )

      it.effect("another incarnation is another number, once all instances have seen it", () =>
        Effect.gen(function* () {
          const { a, b, lease } = yield* two
          const { number } = yield* lease(a, "one", long)
          yield* lease(b, "one", long)
          assert.deepInclude(yield* lease(a, "two", long), { number, isAgreed: false })
          assert.deepInclude(yield* lease(b, "two", long), { number: number + 1, isAgreed: true })
          assert.deepInclude(yield* lease(a, "two", long), { number: number + 1, isAgreed: true })
        }).pipe(Effect.scoped)
      )
    })
  })
}
