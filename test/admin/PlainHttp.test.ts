// What plain HTTP answers in development: /docs and the descriptions, and the admin API's parameters and names.
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { admin } from "../support/Admin.ts"
import { backings, type Running } from "../support/Running.ts"

for (const [backing, start] of backings) {
  describe(`plain HTTP, ${backing}`, () => {
    let running: Running
    beforeAll(async () => {
      running = await start({})
    })
    afterAll(() => running?.stop())

    it("refuses query parameters that an admin endpoint does not have, with the nearest one's name", async () => {
      const request = admin(running.http)
      const misspelt = await request("GET", "/records?usr=ann")
      assert.deepInclude(misspelt, { status: 400, type: "application/problem+json" })
      assert.deepInclude(misspelt.body, { parameter: "usr", nearest: "user", known: ["limit", "cursor", "user"] })
      assert.include(misspelt.body.detail, "did you mean user?")
      const others: ReadonlyArray<readonly [string, string, unknown?]> = [
        ["GET", "/users?limt=1"],
        ["GET", "/integrations?limit=1&Cursor=x"],
        ["GET", "/records/dead?user=ann"],
        ["GET", "/integrations/weather?version=1"],
        ["GET", "/users/ann/config?x"],
        ["DELETE", "/users/ann/config?force=1"],
        ["PUT", "/users/ann/config?dry=1", { config: {} }],
        ["PUT", "/integrations/x?dry=1", { url: "http://127.0.0.1/" }],
        ["DELETE", "/integrations/x?dry=1"],
        ["POST", "/records/dead/1/retry?x=1"],
        ["POST", "/sync?now=1"]
      ]
      for (const [method, path, body] of others) {
        const { body: problem, status } = await request(method, path, body)
        assert.deepEqual([path, status, problem.type], [path, 400, "urn:hotpath:problem:unknown-parameter"])
      }
      assert.strictEqual((await request("GET", "/users?limit=1")).status, 200)
      assert.strictEqual((await request("GET", "/users/ann/config")).status, 404)
      // Nothing is said to who may not ask.
      assert.strictEqual((await running.http("/admin/records?usr=ann")).status, 401)
    })

    it("knows one kind of user id, and cursors of its own", async () => {
      const request = admin(running.http)
      for (const id of ["ann\u200b", "ann\u202e", " ", "a\u0085"]) {
        const path = `/users/${encodeURIComponent(id)}/config`
        assert.strictEqual((await request("PUT", path, { config: {} })).status, 400)
        assert.strictEqual((await request("GET", `/records?user=${encodeURIComponent(id)}`)).status, 400)
      }
      assert.strictEqual((await request("GET", "/users?cursor=AA")).status, 200)
    })

    it("sends what never changes once, with a tag", async () => {
      for (const path of ["/docs", "/openapi.json", "/openrpc.json"]) {
        const first = await running.http(path)
        const etag = first.headers.get("etag") ?? ""
        assert.isAbove((await first.arrayBuffer()).byteLength, 1000)
        const again = await running.http(path, { headers: { "if-none-match": etag } })
        assert.deepEqual(
          [again.status, (await again.arrayBuffer()).byteLength, again.headers.get("etag")],
          [304, 0, etag]
        )
        assert.strictEqual((await running.http(path, { headers: { "if-none-match": '"x"' } })).status, 200)
      }
    })
  })
}
