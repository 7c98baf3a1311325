// One suite over every layer of BufferHolds: memory, embedded, a real PostgreSQL. Time is the server's: what has to run out runs
// out within milliseconds.
import { randomUUID } from "node:crypto"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, describe, layer } from "@effect/vitest"
import { Duration, Effect, Layer, Redacted } from "effect"
import * as PostgresEmbedded from "../../src/infra/postgres/PostgresEmbedded.ts"
import * as Postgres from "../../src/infra/postgres/PostgresServer.ts"
import { WriterLeases } from "../../src/storage/buffer/WriterLeases.ts"
import { freshDatabase } from "../support/Databases.ts"
import { untilEffect } from "../support/UntilEffect.ts"

const timeout = Duration.seconds(20)
const long = 600_000

const server = Layer.unwrap(
  Effect.map(
    Effect.promise(() => freshDatabase()),
    (url) => Postgres.layer({ url: Redacted.make(url), timeout })
  )
)

const kinds = {
  memory: WriterLeases.layerMemory,
  embedded: WriterLeases.layer.pipe(
    Layer.provide(PostgresEmbedded.layer({ dataDir: "memory://", timeout })),
    Layer.provide(NodeServices.layer)
  ),
  PostgreSQL: WriterLeases.layer.pipe(Layer.provide(server))
}

for (const [kind, holds] of Object.entries(kinds)) {
  describe(`WriterLeases: ${kind}`, () => {
    layer<WriterLeases, unknown>(holds, { timeout: "60 seconds", excludeTestServices: true })((it) => {
      /** Nobody holds, and nobody is missing. */
      const two = Effect.gen(function* () {
        const all = yield* WriterLeases
        const [a, b] = [randomUUID(), randomUUID()]
        yield* Effect.addFinalizer(() => Effect.ignore(Effect.andThen(all.release(a), all.release(b))))
        return { ...all, a, b }
      })

      it.effect("remembers which data the buffer was in", () =>
        Effect.gen(function* () {
          const { origin } = yield* WriterLeases
          const [first, second] = [randomUUID(), randomUUID()]
          yield* origin(first)
          assert.strictEqual(yield* origin(first), first)
          assert.strictEqual(yield* origin(second), first)
          assert.strictEqual(yield* origin(second), second)
        })
      )

      it.effect("begins a lease when nobody holds, which the others share, and another when all have gone", () =>
        Effect.gen(function* () {
          const { a, b, hold, isHeld, release } = yield* two
          const first = yield* hold(a, "run", long)
          assert.deepInclude(first, { isAgreed: true, isWhole: true })
          assert.isAtLeast(first.ageMs, 0)
          assert.isFalse(yield* isHeld(a))
          assert.isTrue(yield* isHeld(b))
          for (const who of [b, a, b]) assert.strictEqual((yield* hold(who, "run", long)).lease, first.lease)
          yield* release(a)
          assert.strictEqual((yield* hold(a, "run", long)).lease, first.lease)
          for (const who of [a, b, b]) yield* release(who)
          assert.isFalse(yield* isHeld(a))
          assert.strictEqual((yield* hold(b, "run", long)).lease, first.lease + 1)
        }).pipe(Effect.scoped)
      )

      it.effect("writes past the buffer only while nobody holds, and nothing of what is refused", () =>
        Effect.gen(function* () {
          const { a, b, hold, past, release } = yield* two
          let written = 0
          const write = Effect.sync(() => ++written)
          assert.strictEqual(yield* past(write), 1)
          yield* hold(a, "run", long)
          assert.strictEqual((yield* Effect.flip(past(write)))._tag, "BufferLeased")
          yield* hold(b, "run", long)
          yield* release(a)
          assert.strictEqual((yield* Effect.flip(past(write)))._tag, "BufferLeased")
          yield* release(b)
          assert.strictEqual(yield* past(write), 2)
          assert.strictEqual(yield* Effect.flip(past(Effect.fail("its own" as const))), "its own")
        }).pipe(Effect.scoped)
      )

      it.effect("a hold that runs out ends the lease, and whose it was is missed until they are back", () =>
        Effect.gen(function* () {
          const { a, b, hold, isHeld, past, release } = yield* two
          const first = yield* hold(a, "run", 20)
          yield* untilEffect(Effect.filterOrFail(isHeld(b), (is) => !is))
          yield* past(Effect.void)
          const next = yield* hold(b, "run", long)
          assert.deepInclude(next, { lease: first.lease + 1, isAgreed: true, isWhole: false })
          assert.deepInclude(yield* hold(a, "run", long), { lease: next.lease, isWhole: true })
          yield* release(a)
          assert.isTrue((yield* hold(b, "run", long)).isWhole)
        }).pipe(Effect.scoped)
      )

      it.effect("another run is another lease, once all who hold have seen it", () =>
        Effect.gen(function* () {
          const { a, b, hold } = yield* two
          const { lease } = yield* hold(a, "one", long)
          yield* hold(b, "one", long)
          assert.deepInclude(yield* hold(a, "two", long), { lease, isAgreed: false })
          assert.deepInclude(yield* hold(b, "two", long), { lease: lease + 1, isAgreed: true })
          assert.deepInclude(yield* hold(a, "two", long), { lease: lease + 1, isAgreed: true })
        }).pipe(Effect.scoped)
      )
    })
  })
}
