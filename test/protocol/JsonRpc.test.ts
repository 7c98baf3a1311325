// The codec's properties: whatever comes is answered, what is encoded decodes to the same.
import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { decode, encodeError, encodeResult, nestsDeeperThan } from "../../src/protocol/JsonRpc.ts"

const depth = (value: unknown): number =>
  typeof value === "object" && value !== null ? 1 + Math.max(0, ...Object.values(value).map(depth)) : 0

describe("JsonRpc", () => {
  it.prop("finds the depth of any JSON", [Schema.Json], ([value]) => {
    const text = JSON.stringify(value)
    assert.isFalse(nestsDeeperThan(text, depth(value)))
    if (depth(value) > 0) assert.isTrue(nestsDeeperThan(text, depth(value) - 1))
  })

  it.prop("decodes any text to something", [Schema.String], ([text]) => {
    assert.isDefined(decode(text, 64, 100))
  })

  it.prop("decodes a request to what was sent", [Schema.String, Schema.Json], ([method, input]) => {
    const frame = decode(JSON.stringify({ jsonrpc: "2.0", id: "x", method, params: { input } }), 1000, 100)
    assert.deepEqual(frame, { _tag: "Request", id: "x", method, params: { input: JSON.parse(JSON.stringify(input)) } })
  })

  it.prop(
    "encodes results and errors as JSON with the id they answer",
    [Schema.String, Schema.Json],
    ([id, result]) => {
      const sent = JSON.parse(encodeResult(id, result))
      assert.strictEqual(sent.id, id)
      assert.deepEqual(sent.result, JSON.parse(JSON.stringify(result ?? {})))
      assert.strictEqual(JSON.parse(encodeError(id, "Overloaded", id, "0")).error.message, id)
    }
  )
})
