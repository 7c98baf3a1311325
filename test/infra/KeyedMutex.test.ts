// One effect at a time by key, in the order they came, whoever gives up meanwhile.
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber } from "effect"
import { makeKeyedMutex } from "../../src/infra/KeyedMutex.ts"

const open = Effect.sync(() => {
  const turns = makeKeyedMutex()
  const begun: Array<string> = []
  /** Runs until it is opened. */
  const held = (name: string, gate: Deferred.Deferred<void>, key = "key") =>
    turns(
      key,
      Effect.andThen(
        Effect.sync(() => begun.push(name)),
        Deferred.await(gate)
      )
    )
  const gate = () => Deferred.makeUnsafe<void>()
  const fork = <A, E>(effect: Effect.Effect<A, E>) => Effect.forkChild(effect, { startImmediately: true })
  return { begun, held, gate, fork }
})
/** Everybody who may go on by now does. */
const settled = Effect.repeat(Effect.yieldNow, { times: 20 })

describe("turns", () => {
  it.effect("go one after the other, in the order they came; other keys do not wait", () =>
    Effect.gen(function* () {
      const { begun, fork, gate, held } = yield* open
      const gates = [gate(), gate(), gate(), gate()] as const
      yield* fork(held("a", gates[0]))
      yield* fork(held("b", gates[1]))
      yield* fork(held("c", gates[2]))
      yield* fork(held("other", gates[3], "another key"))
      yield* settled
      assert.deepEqual(begun, ["a", "other"])
      for (const n of [0, 1, 2] as const) {
        yield* Deferred.succeed(gates[n], undefined)
        yield* settled
        assert.deepEqual(begun, ["a", "other", ..."bc".slice(0, n + 1)])
      }
    })
  )

  it.effect("are not taken early by who waits behind one that gave up", () =>
    Effect.gen(function* () {
      const { begun, fork, gate, held } = yield* open
      const [first, open2] = [gate(), gate()]
      const a = yield* fork(held("a", first))
      const b = yield* fork(held("b", open2))
      const c = yield* fork(held("c", open2))
      yield* Fiber.interrupt(b)
      yield* settled
      assert.deepEqual(begun, ["a"])
      // Nor by a newcomer, when the one that gave up was the last.
      yield* Fiber.interrupt(c)
      const d = yield* fork(held("d", open2))
      yield* settled
      assert.deepEqual(begun, ["a"])
      yield* Deferred.succeed(first, undefined)
      yield* Fiber.join(a)
      yield* settled
      assert.deepEqual(begun, ["a", "d"])
      yield* Deferred.succeed(open2, undefined)
      yield* Fiber.join(d)
    })
  )

  it.effect("pass on when the one that has it fails, dies, or is interrupted", () =>
    Effect.gen(function* () {
      const { begun, fork, gate, held } = yield* open
      const turns = makeKeyedMutex()
      yield* Effect.ignore(turns("key", Effect.fail("no")))
      yield* Effect.ignoreCause(turns("key", Effect.die("no")))
      assert.strictEqual(yield* turns("key", Effect.succeed(1)), 1)
      const a = yield* fork(held("a", gate()))
      const last = gate()
      const b = yield* fork(held("b", last))
      yield* Fiber.interrupt(a)
      yield* settled
      assert.deepEqual(begun, ["a", "b"])
      yield* Deferred.succeed(last, undefined)
      yield* Fiber.join(b)
    })
  )
})
