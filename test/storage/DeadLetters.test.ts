import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { DatabaseRefused, DatabaseUnavailable } from "../../src/infra/postgres/Database.ts"
import { insertOrDeadLetter } from "../../src/storage/DeadLetters.ts"
import { makeRandom } from "../support/Random.ts"

const refused = new DatabaseRefused({ sqlState: "22P05", cause: "bad" })

describe("insertOrDeadLetter", () => {
  it.effect("stores every row but the refused ones, which become dead letters, in order", () =>
    Effect.gen(function* () {
      const random = makeRandom(14)
      for (let round = 0; round < 200; round++) {
        const rows = Array.from({ length: random.below(40) }, (_, n) => n)
        const bad = new Set(rows.filter(() => random.chance(0.15)))
        const stored: Array<number> = []
        const dead: Array<number> = []
        const results = yield* insertOrDeadLetter(
          [rows.slice(0, 7), [], rows.slice(7)],
          (some) =>
            Effect.suspend(() => {
              if (some.some((row) => bad.has(row))) return Effect.fail(refused)
              stored.push(...some)
              return Effect.succeed(some.length)
            }),
          (row) => Effect.sync(() => dead.push(row)).pipe(Effect.as(0))
        )
        assert.deepEqual([stored, dead], [rows.filter((row) => !bad.has(row)), [...bad]])
        assert.strictEqual(
          results.reduce((sum, count) => sum + count, 0),
          stored.length
        )
      }
    })
  )

  it.effect("fails with what is no refusal of a row, and with what the dead letter fails with", () =>
    Effect.gen(function* () {
      const away = new DatabaseUnavailable({ reason: "away" })
      const unavailable = insertOrDeadLetter(
        [[1, 2]],
        () => Effect.fail(away),
        () => Effect.die("no refusal")
      )
      assert.strictEqual(yield* Effect.flip(unavailable), away)
      let asked = 0
      const statementFault = insertOrDeadLetter(
        [[1, 2, 3, 4], [5]],
        () => {
          asked++
          return Effect.fail(refused)
        },
        (_row, error) => Effect.fail(error)
      )
      assert.strictEqual(yield* Effect.flip(statementFault), refused)
      assert.strictEqual(asked, 3)
    })
  )
})
