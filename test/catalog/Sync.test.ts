// What the catalog does when PostgreSQL is away, and what it asks of Redis and PostgreSQL. What needs a real listener, or a
// Redis that comes back with what it had long ago, is in e2e/Sync.test.ts.
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import * as Faults from "../../src/testing/Faults.ts"
import type { TestClient } from "../../src/testing/TestClient.ts"
import { TestHotpath } from "../../src/testing/TestHotpath.ts"
import { adminToken } from "../support/Admin.ts"

const content = {
  integrations: { echo: { url: "http://echo.test/" } },
  users: { ann: { n: 1 } },
  settings: { ADMIN_TOKEN: adminToken }
}

const put = (config: object, instance?: number) =>
  TestHotpath.http(
    "/admin/users/ann/config",
    {
      method: "PUT",
      headers: { authorization: `Bearer ${adminToken}`, "content-type": "application/json" },
      body: JSON.stringify({ config })
    },
    instance
  )
const version = (client: TestClient) =>
  Effect.map(client.request("call", { integration: "echo", input: 0 }), ({ configVersion }) => configVersion)

describe("the catalog's copies", () => {
  it.effect("go on without PostgreSQL: reads from memory and Redis, edits refused; and edits are back with it", () =>
    Effect.gen(function* () {
      const ann = yield* TestHotpath.client("ann", 0)
      assert.strictEqual(yield* version(ann), 1)
      yield* TestHotpath.fault("postgres", Faults.away)
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* version(ann), 1)
      const refused = yield* put({})
      assert.strictEqual(refused.status, 503)
      assert.strictEqual(refused.headers.get("content-type"), "application/problem+json")
      // Another instance, which has not read it yet, knows it from Redis.
      const other = yield* TestHotpath.client("ann", 1)
      assert.strictEqual(yield* version(other), 1)
      yield* TestHotpath.fault("postgres", Faults.none)
      yield* TestClock.adjust("1 minute")
      assert.strictEqual((yield* put({}, 1)).status, 200)
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* version(other), 2)
      assert.strictEqual(yield* version(ann), 2)
    }).pipe(Effect.provide(TestHotpath.layer({ ...content, instances: 2 })))
  )

  it.effect("are read once an instance of a cold key, however many ask", () =>
    Effect.gen(function* () {
      const clients = yield* Effect.forEach(Array.from({ length: 300 }), () => TestHotpath.client("ann"))
      const seen = yield* Effect.forEach(clients, version, { concurrency: "unbounded" })
      assert.isTrue(seen.every((each) => each === 1))
      const response = yield* TestHotpath.http("/metrics")
      const text = yield* Effect.promise(() => response.text())
      const reads = (tier: string) =>
        [...text.matchAll(/^hotpath_cache_requests_total\{(.+)\} (\d+)$/gm)]
          .filter(([, labels]) => labels?.includes('cache="config"') && labels.includes(`tier="${tier}"`))
          .reduce((sum, [, , count]) => sum + Number(count), 0)
      assert.strictEqual(reads("redis"), 1)
      assert.strictEqual(reads("postgres"), 1)
    }).pipe(
      Effect.provide(
        TestHotpath.layer({ ...content, settings: { ...content.settings, USER_CONNECTIONS: 1000, USER_RATE: 10_000 } })
      )
    )
  )
})
