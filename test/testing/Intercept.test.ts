// What is intercepted of a service, and what stays as it is.
import { assert, describe, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import { intercept } from "../../src/testing/Intercept.ts"

class Base {
  readonly #greeting = "hello"
  greet(name: string) {
    return Effect.succeed(`${this.#greeting} ${name}`)
  }
}

class Service extends Base {
  #size = 0
  color = "red"
  readonly one = Effect.succeed(1)
  readonly items = Stream.make(1, 2)
  readonly Item = class {
    readonly kind = "item"
  }
  readonly tagged = Object.assign((n: number) => Effect.succeed(n), { unit: "ms" })
  get size() {
    return this.#size
  }
  grow(by: number) {
    return Effect.sync(() => {
      this.#size += by
    })
  }
  growTwice(by: number) {
    return Effect.andThen(this.grow(by), this.grow(by))
  }
  double(n: number) {
    return 2 * n
  }
}

const setup = () => {
  const calls: Array<unknown> = []
  const original = new Service()
  const service = intercept(original, (call) => (effect) => {
    calls.push([call.method, ...call.args])
    return effect
  })
  return { calls, original, service }
}

describe("intercept", () => {
  it.effect(
    "is around methods that return an effect, also inherited ones with private fields, and around effects",
    () =>
      Effect.gen(function* () {
        const { calls, service } = setup()
        assert.strictEqual(yield* service.greet("ann"), "hello ann")
        assert.strictEqual(yield* service.one, 1)
        assert.strictEqual(yield* service.tagged(3), 3)
        // The second method that a method calls is its own matter.
        yield* service.growTwice(2)
        assert.strictEqual(service.size, 4)
        assert.deepEqual(calls, [["greet", "ann"], ["one"], ["tagged", 3], ["growTwice", 2]])
      })
  )

  it.effect("keeps everything else", () =>
    Effect.gen(function* () {
      const { calls, original, service } = setup()
      assert.strictEqual(service.double(4), 8)
      assert.strictEqual(service.items, original.items)
      assert.strictEqual(new service.Item().kind, "item")
      assert.instanceOf(new service.Item(), original.Item)
      assert.strictEqual(service.tagged.unit, "ms")
      assert.strictEqual(service.tagged.length, 1)
      assert.instanceOf(service, Service)
      assert.strictEqual(service.constructor, Service)
      service.color = "blue"
      assert.strictEqual(original.color, "blue")
      yield* original.grow(3)
      assert.strictEqual(service.size, 3)
      assert.deepEqual(calls, [])
    })
  )

  it("gives the same function each time, and its fields to a spread; the service may be frozen", () => {
    const service = intercept(Object.freeze({ run: () => Effect.void, kind: "a" }), () => (effect) => effect)
    assert.strictEqual(service.run, service.run)
    assert.deepEqual(Object.keys({ ...service }), ["run", "kind"])
    assert.isTrue(Effect.isEffect({ ...service }.run()))
  })
})
