// What a client's author reads when params are wrong: everything at once, in words, with the name that was meant.
import { assert, describe, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import { textBetween } from "../../src/domain/Text.ts"
import { type MethodName, Methods } from "../../src/protocol/methods/Methods.ts"
import { makeParamsDecoder } from "../../src/protocol/ParamsDecoder.ts"

const refusal = (method: MethodName, params: object) => {
  const decoded = makeParamsDecoder(Methods[method].params)(params)
  assert.isTrue(Result.isFailure(decoded), `${method} takes ${JSON.stringify(params)}`)
  return Result.isFailure(decoded) ? decoded.failure : undefined
}
const issues = (method: MethodName, params: object) => refusal(method, params)?.fields?.["issues"]

describe("params that are refused", () => {
  it("are listed all at once, each with what is taken", () => {
    assert.deepEqual(issues("messages.send", { roomId: 5, body: "", key: "x".repeat(129) }), [
      { path: ["roomId"], message: "must be a string" },
      { path: ["body"], message: "must be text of 1 to 16384 characters" },
      { path: ["key"], message: "must be text of 1 to 128 characters" }
    ])
    assert.deepEqual(issues("messages.send", {}), [
      { path: ["roomId"], message: "is required" },
      { path: ["body"], message: "is required" }
    ])
    assert.deepEqual(issues("messages.list", { roomId: "x", limit: 1.5, threadId: null }), [
      { path: ["threadId"], message: "must be a string" },
      { path: ["limit"], message: "must be an integer" }
    ])
  })

  it("are named with the one that was meant", () => {
    assert.deepEqual(issues("messages.send", { roomID: "x", body: "x", zzz: 1 }), [
      { path: ["roomID"], message: 'is no param of this method: did you mean "roomId"?' },
      {
        path: ["zzz"],
        message: "is no param of this method: the method takes roomId, threadId, body, key"
      },
      { path: ["roomId"], message: "is required" }
    ])
    assert.deepEqual(issues("session.get", JSON.parse('{"__proto__": 1}')), [
      { path: ["__proto__"], message: "is no param of this method: the method takes no params" }
    ])
  })

  it("say the same in the message, for people who read no data", () => {
    assert.strictEqual(
      refusal("rooms.invite", { roomId: "x", role: "king" })?.message,
      'Invalid params: role must be "owner" or "member" or "viewer"'
    )
  })

  it("make an error of a bounded size", () => {
    const params = Object.fromEntries(Array.from({ length: 5000 }, (_, n) => [`${n}${"x".repeat(100)}`, 1]))
    assert.isBelow(JSON.stringify(refusal("session.get", params)).length, 10_000)
  })

  it("are explained without regular expressions, whatever the method", () => {
    for (const [name, { params }] of Object.entries(Methods)) {
      const fields = Object.keys(params.fields)
      for (const wrong of [5, "", " ", "\u0000\n", "x".repeat(2_000_000), -1.5, [], {}, null, true]) {
        const decoded = makeParamsDecoder(params)(Object.fromEntries(fields.map((field) => [field, wrong])))
        if (Result.isFailure(decoded)) assert.notMatch(decoded.failure.message, /RegExp|\[\^|Expected/, name)
      }
    }
  })

  it("may be deep inside", () => {
    const nested = Schema.Struct({ changes: Schema.Array(Schema.Struct({ insert: textBetween(1, 3) })) })
    const decoded = makeParamsDecoder(nested)({ changes: [{ insert: "a" }, { insert: "" }] })
    assert.deepEqual(Result.isFailure(decoded) && decoded.failure.fields?.["issues"], [
      { path: ["changes", 1, "insert"], message: "must be text of 1 to 3 characters" }
    ])
  })
})

describe("params that are taken", () => {
  it("may come with _meta", () => {
    const decoded = makeParamsDecoder(Methods["rooms.get"].params)({ roomId: "x", _meta: { traceparent: "…" } })
    assert.deepEqual(Result.getOrThrow(decoded), { roomId: "x" })
  })
})
