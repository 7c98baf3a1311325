// The admin API, and the catalog that it edits, seen from two instances. What comes by SQL is in e2e/Admin.test.ts.
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { type AdminReply, admin, adminToken } from "../support/Admin.ts"
import type { Client } from "../support/Client.ts"
import { patienceMs } from "../support/Patience.ts"
import { backings, type Running } from "../support/Running.ts"
import { until } from "../support/Until.ts"
import { makeMisbehaving } from "../support/Upstream.ts"

for (const [backing, start] of backings) {
  describe(`admin, ${backing}`, () => {
    const upstream = makeMisbehaving()
    let running: Running
    let ask: ReturnType<typeof admin>
    let clients: ReadonlyArray<Client>

    const versions = (integration = "echo") =>
      Promise.all(
        clients.map(async (client) => {
          const { error, result } = await client.request("call", { integration, input: {} })
          return result?.["configVersion"] ?? error?.data.type
        })
      )
    const soon = async (wanted: unknown, what: string) =>
      until(async () => (await versions()).every((version) => version === wanted), what)

    beforeAll(async () => {
      running = await start({
        handler: upstream.handler,
        instances: 2,
        settings: {
          REQUEST_BURST: "10000",
          REQUEST_RATE: "10000",
          // Nothing here waits for it: what is seen comes from the listener.
          CATALOG_REFRESH: "1 hour",
          INTEGRATION_SECRET_KEY: "s3cret value"
        }
      })
      ask = admin(running.http)
      await ask("PUT", "/integrations/echo", { url: `${running.integrations.origin}/echo` })
      clients = await Promise.all([running.client("sync", 0), running.client("sync", 1)])
    })
    afterAll(() => running?.stop())

    it("puts a configuration that both instances use at once, and takes it away again", async () => {
      assert.deepEqual(await versions(), [0, 0])
      const first = await ask("PUT", "/users/sync/config", { config: { units: "metric" } })
      assert.deepInclude(first, { status: 200, etag: '"1"', body: { version: 1 } })
      assert.strictEqual((await versions())[0], 1)
      await soon(1, "the other instance to use it")
      const [, reply] = await Promise.all(
        clients.map((client) => client.request("call", { integration: "echo", input: 7 }))
      )
      assert.deepEqual(reply?.result?.["body"], { input: 7, config: { units: "metric" } })
      assert.deepEqual((await ask("PUT", "/users/sync/config", { config: { units: "imperial" } })).body, { version: 2 })
      await soon(2, "the next one")
      assert.strictEqual((await ask("DELETE", "/users/sync/config")).status, 204)
      await soon(0, "its absence")
      assert.strictEqual((await ask("DELETE", "/users/sync/config")).status, 404)
      // A version never comes again: the deletion was the third.
      assert.deepEqual((await ask("PUT", "/users/sync/config", { config: {} })).body, { version: 4 })
      await soon(4, "the one after the deletion")
    })

    it("does not write over a change it did not see", async () => {
      const put = (headers: Record<string, string>, units = "metric") =>
        ask("PUT", "/users/careful/config", { config: { units } }, headers)
      const none = { "if-none-match": "*" }
      assert.strictEqual((await put({ "if-match": '"1"' })).status, 412)
      assert.strictEqual((await put(none)).status, 200)
      assert.deepInclude((await put(none)).body, { status: 412, version: 1 })
      assert.strictEqual((await put({ "if-match": '"1"' }, "imperial")).body.version, 2)
      const stale = await put({ "if-match": '"1"' })
      assert.deepInclude(stale, { status: 412, type: "application/problem+json" })
      assert.deepInclude(stale.body, { version: 2, type: "urn:hotpath:problem:version-mismatch" })
      const gone = await ask("DELETE", "/users/careful/config", undefined, { "if-match": '"1"' })
      assert.strictEqual(gone.status, 412)
      assert.deepInclude((await ask("GET", "/users/careful/config")).body, {
        userId: "careful",
        version: 2,
        config: { units: "imperial" }
      })
      assert.strictEqual((await put({ "if-match": "soon" })).status, 422)
    })

    it("refuses a wrong definition with the field and the reason", async () => {
      const manyHeaders = Object.fromEntries(Array.from({ length: 5000 }, (_, n) => [`x-${n}`, "{config.a}"]))
      const wrong: ReadonlyArray<readonly [string, unknown, string]> = [
        ["no URL", { method: "GET" }, "url"],
        ["not a URL", { url: "weather" }, "url"],
        ["a line break", { url: "http://host/a\r\nX: y" }, "url"],
        ["a space in the host", { url: "http://host /x" }, "url"],
        ["a backslash", { url: "http://host\\@evil/" }, "url"],
        ["another scheme", { url: "file:///etc/passwd" }, "url"],
        ["a placeholder in the host", { url: "http://{input.host}/" }, "url"],
        ["credentials", { url: "http://a:b@host/" }, "url"],
        ["an unknown placeholder", { url: "http://host/", query: { q: "{env.PATH}" } }, "query.q"],
        ["a missing secret", { url: "http://host/", headers: { key: "{secret.NONE}" } }, "headers.key"],
        ["a bad pointer", { url: "http://host/", result: { t: "main/temp" } }, "result.t"],
        ["a bad escape in a pointer", { url: "http://host/", result: { t: "/a~2" } }, "result.t"],
        ["a header's value with a line break", { url: "http://host/", headers: { a: "b\r\nc: d" } }, "headers.a"],
        ["a header's name with a line break", { url: "http://host/", headers: { "a\r\nb": "c" } }, "headers.a\r\nb"],
        [
          "a header of the connection's",
          { url: "http://host/", headers: { "Content-Length": "3" } },
          "headers.Content-Length"
        ],
        ["a timeout out of range", { url: "http://host/", timeoutMs: 0 }, "timeoutMs"],
        ["a count that is none", { url: "http://host/", maxConcurrent: 1.5 }, "maxConcurrent"],
        ["a method that is not taken", { url: "http://host/", method: "DELETE" }, "method"],
        ["a name that nothing has", { url: "http://host/", timeoutMS: 5 }, "timeoutMS"],
        ["a brace that is nobody's", { url: "http://host/{input.x" }, "url"],
        ["a placeholder in a parameter's name", { url: "http://host/", query: { "{input.x}": "1" } }, "query"],
        ["an error of no status", { url: "http://host/", errors: { abc: "x" } }, "errors.abc"],
        ["a header twice", { url: "http://host/", headers: { "X-A": "1", "x-a": "2" } }, "headers.x-a"],
        ["a denied address", { url: "http://169.254.169.254/latest" }, "url"],
        ["a denied address, in decimal", { url: "http://2852039166/latest" }, "url"],
        ["too many placeholders", { url: "http://host/", query: { q: "{input.a}".repeat(100_000) } }, ""],
        ["too many headers", { url: "http://host/", headers: manyHeaders }, ""],
        ["a pointer of an error's that is none", { url: "http://host/", errors: { "400": "{/a~2}" } }, "errors.400"],
        ["a metadata service", { url: "http://[fd20:ce::254]/" }, "url"],
        ["the unspecified address", { url: "http://0:8080/" }, "url"],
        ["a denied address, mapped", { url: "http://[::ffff:169.254.169.254]/" }, "url"]
      ]
      for (const [what, definition, field] of wrong) {
        const { body, status, type } = await ask("PUT", "/integrations/wrong", definition)
        assert.deepInclude({ what, status, type, field: body.field }, { what, status: 422, field })
        assert.strictEqual(type, "application/problem+json")
        assert.isString(body.reason)
      }
      assert.strictEqual((await ask("GET", "/integrations/wrong")).status, 404)
      assert.strictEqual((await ask("PUT", "/integrations/wrong", "{")).status, 400)
      assert.strictEqual((await ask("PUT", "/users/u/config", { config: { a: "\0" } })).status, 422)
      assert.strictEqual((await ask("PUT", "/users/u/config", { config: [] })).status, 422)
      const inexact = await ask("PUT", "/users/u/config", '{"config":{"id":9007199254740993}}')
      assert.deepInclude(inexact.body, { status: 422, field: "config" })
      assert.include(inexact.body.reason, "9007199254740993")
      const body = await ask(
        "PUT",
        "/integrations/wrong",
        '{"url":"http://host/","body":{"id":[-9223372036854775807]}}'
      )
      assert.include(body.body.reason, "-9223372036854775807")
      // A call works with all of it: its size is bounded.
      const big = (count: number) => "x".repeat(count)
      assert.strictEqual((await ask("PUT", "/users/u/config", { config: { a: big(66_000) } })).status, 422)
      assert.strictEqual((await ask("PUT", "/users/u/config", { config: { a: big(60_000) } })).status, 200)
      const definition = { url: "http://127.0.0.1:1/", headers: { "x-a": big(66_000) } }
      assert.strictEqual((await ask("PUT", "/integrations/big", definition)).status, 422)
      assert.strictEqual((await ask("PUT", "/users/u/config", { config: { big: "x".repeat(2_000_000) } })).status, 413)
    })

    it("takes edits of one name from many at once: every version once, and none lost", async () => {
      const edits = await Promise.all(
        Array.from({ length: 100 }, (_, n) =>
          n % 5 === 4 ? ask("DELETE", "/users/race/config") : ask("PUT", "/users/race/config", { config: { n } })
        )
      )
      assert.includeMembers([200, 204, 404], [...new Set(edits.map(({ status }) => status))])
      const made = edits.filter(({ status }) => status === 200).map(({ body }) => body.version)
      assert.strictEqual(new Set(made).size, 80)
      const { body } = await ask("PUT", "/users/race/config", { config: {} })
      assert.isAbove(body.version, Math.max(...made))
    })

    it("takes long names", async () => {
      const user = "ü".repeat(256)
      assert.strictEqual((await ask("PUT", `/users/${encodeURIComponent(user)}/config`, { config: {} })).status, 200)
      assert.strictEqual((await ask("GET", `/users/${encodeURIComponent(user)}/config`)).body.userId, user)
    })

    it("changes an integration for the next call, and leaves those under way alone", async () => {
      const gate = { url: `${running.integrations.origin}/gate`, timeoutMs: patienceMs }
      await ask("PUT", "/integrations/changing", gate)
      const [client] = clients
      assert.isDefined(client)
      const underWay = client.request("call", { integration: "changing", input: 1 })
      await until(() => running.integrations.open() === 1, "the call to be under way")
      await ask("PUT", "/integrations/changing", { url: `${running.integrations.origin}/echo` })
      const next = await client.request("call", { integration: "changing", input: 2 })
      assert.deepEqual(next.result?.["body"], { input: 2, config: {} })
      upstream.release()
      assert.strictEqual((await underWay).result?.["status"], 200)
      await ask("DELETE", "/integrations/changing")
      const gone = await client.request("call", { integration: "changing", input: 3 })
      assert.strictEqual(gone.error?.data.type, "IntegrationNotFound")
    })

    it("lists by pages", async () => {
      const users = Array.from({ length: 7 }, (_, n) => `page${n}`)
      for (const user of ["a0", "a1", "a2"]) await ask("PUT", `/users/${user}/config`, { config: {} })
      for (const user of users) await ask("PUT", `/users/${user}/config`, { config: { user } })
      const seen: Array<string> = []
      // Not those of other tests before them, which are many.
      let cursor: string | null = Buffer.from("page").toString("base64url")
      while (cursor !== null) {
        const page: AdminReply = await ask("GET", `/users?limit=3&cursor=${cursor}`)
        seen.push(...page.body.items.map(({ userId }: { userId: string }) => userId))
        cursor = page.body.next
      }
      assert.includeMembers(seen, users)
      assert.deepEqual(seen, seen.toSorted())
      assert.strictEqual(new Set(seen).size, seen.length)
      const first: AdminReply = await ask("GET", "/users?limit=3")
      assert.deepEqual(
        first.body.items.map(({ userId }: { userId: string }) => userId),
        ["a0", "a1", "a2"]
      )
      assert.strictEqual((await ask("GET", "/users?limit=0")).status, 400)
      assert.strictEqual((await ask("GET", "/users?cursor=%00")).status, 200)
    })

    it("lists what was recorded, newest first", async () => {
      const client = await running.client("recorded")
      for (const input of [1, 2, 3]) await client.request("call", { integration: "echo", input, ack: "postgres" })
      const first = await ask("GET", "/records?user=recorded&limit=2")
      assert.deepEqual(
        first.body.items.map(({ input }: { input: number }) => input),
        [3, 2]
      )
      assert.deepInclude(first.body.items[0], { user: "recorded", integration: "echo", status: 200, configVersion: 0 })
      const second = await ask("GET", `/records?user=recorded&cursor=${first.body.next}`)
      assert.deepEqual(
        second.body.items.map(({ input }: { input: number }) => input),
        [1]
      )
      assert.isNull(second.body.next)
    })

    it("lets nobody in without the token", async () => {
      for (const authorization of ["", "Bearer ", "Bearer wrong", `Basic ${adminToken}`]) {
        const { body, status, type } = await ask("GET", "/integrations", undefined, { authorization })
        assert.deepInclude({ status, type }, { status: 401, type: "application/problem+json" })
        assert.notProperty(body, "items")
      }
      assert.strictEqual((await ask("GET", "/nothing")).status, 404)
      const text = await ask("PUT", "/users/u/config", '{"config":{}}', { "content-type": "text/plain" })
      assert.deepInclude(text, { status: 415, type: "application/problem+json" })
      assert.strictEqual((await ask("GET", "/records?user=%00")).status, 400)
    })

    it("compares everything on demand, and describes itself", async () => {
      const { body } = await ask("POST", "/sync")
      assert.isTrue(body.listening)
      assert.isAbove(body.checked, 0)
      const document = (await (await running.http("/openapi.json")).json()) as { paths: object }
      assert.property(document.paths, "/admin/integrations/{name}")
      const docs = await (await running.http("/docs", { headers: { authorization: `Bearer ${adminToken}` } })).text()
      assert.notMatch(docs.replaceAll(/<script>.*?<\/script>/gs, ""), /https?:\/\//)
    })
  })
}
