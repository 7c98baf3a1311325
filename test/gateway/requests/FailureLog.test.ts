// What a client can make the log hold by failing.
import { assert, describe, it } from "@effect/vitest"
import { Effect, Logger } from "effect"
import { FailureLog } from "../../../src/gateway/requests/FailureLog.ts"
import { RequestInfo } from "../../../src/observability/RequestContext.ts"
import type { ErrorType } from "../../../src/protocol/ErrorCodes.ts"

/** How many lines, and how many characters, `count` failures leave at `info`. */
const written = (count: number, failure: (n: number) => { type: ErrorType; method: string; params?: unknown }) =>
  Effect.suspend(() => {
    const lines: Array<string> = []
    const logger = Logger.make(({ message }) => lines.push(JSON.stringify(message)))
    const noted = Effect.gen(function* () {
      const { note } = yield* FailureLog
      for (let n = 0; n < count; n++) {
        note({ message: "no", fields: undefined, params: {}, ...failure(n) }, new RequestInfo("1", "mallory"))
      }
    })
    return Effect.map(noted.pipe(Effect.provide(FailureLog.layer), Effect.provide(Logger.layer([logger]))), () => ({
      lines: lines.length,
      characters: lines.join("").length
    }))
  })

describe("Failures", () => {
  it.effect("takes methods that there are not for one kind, and repeats little of their names", () =>
    Effect.gen(function* () {
      const method = (n: number) => ({ type: "MethodNotFound" as const, method: `${n}${"x".repeat(60_000)}` })
      const { characters, lines } = yield* written(300, method)
      assert.isAtMost(lines, 10)
      assert.isAtLeast(lines, 1)
      assert.isBelow(characters, 5000)
    })
  )

  it.effect.each(["IntegrationNotFound", "InvalidParams", "RateLimited", "ConfigUnavailable", "Overloaded"] as const)(
    "does not take the integration that a request names for a kind of its own (%s)",
    (type) =>
      Effect.gen(function* () {
        const { lines } = yield* written(300, (n) => ({ type, method: "call", params: { integration: `i${n}` } }))
        assert.isAtMost(lines, 10)
      })
  )

  it.effect("keeps the integrations that there are apart", () =>
    Effect.gen(function* () {
      const failing = (n: number) => ({
        type: "IntegrationTimeout" as const,
        method: "call",
        params: { integration: n % 2 === 0 ? "even" : "odd" }
      })
      assert.strictEqual((yield* written(300, failing)).lines, 20)
    })
  )
})
