// The codec's properties: whatever comes is answered, what is encoded decodes to the same.
import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { inexactNumbers } from "../../src/domain/ExactNumbers.ts"
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

  it("says which number of which message a double does not hold", () => {
    const of = (params: string) => `{"jsonrpc":"2.0","id":1,"method":"call","params":${params}}`
    const inexact = (text: string) =>
      [decode(text, 64, 100)].flat().map((message) => "inexact" in message && message.inexact)
    for (const number of [
      "9007199254740993",
      "-9223372036854775807",
      "1e400",
      "-1E999",
      "1e-400",
      "123456789012345678"
    ]) {
      assert.deepEqual(inexact(of(`{"input":{"a":[1,${number}]}}`)), [number])
      assert.deepEqual(inexact(`[${of("{}")}, ${of(`{"b":${number}}`)},${of('{"c":"\\"9007199254740993"}')}]`), [
        false,
        number,
        false
      ])
    }
    const fine = [
      "9007199254740991",
      "-9007199254740992",
      "1e21",
      "1e308",
      "0.1234567890123456789",
      "-0",
      "0e999",
      "5e-324"
    ]
    for (const number of fine) assert.deepEqual(inexact(of(`{"input":${number}}`)), [false], number)
  })

  it("names the first of a request's numbers, and looks at no more of them", () => {
    const [one, two] = ["12345678901234567890", "12345678901234567891"]
    const of = (...numbers: ReadonlyArray<string>) =>
      `{"jsonrpc":"2.0","id":1,"method":"a","params":{"n":[${numbers}]}}`
    const inexact = (text: string) =>
      [decode(text, 64, 100)].flat().map((message) => "inexact" in message && message.inexact)
    assert.deepEqual(inexact(of(one, two)), [one])
    assert.deepEqual(inexact(`[${of("1")},${of(two, one)},${of(one, two)}]`), [false, two, one])
    assert.deepEqual(
      inexactNumbers(`[[${one},${two}],${two}]`, true).map(({ source }) => source),
      [one, two]
    )
  })

  it.prop("takes every number that JSON.stringify writes", [Schema.Finite], ([number]) => {
    assert.deepEqual(inexactNumbers(JSON.stringify([number])), [])
  })

  it.prop("finds every 64-bit integer that is written otherwise than it was read", [Schema.BigInt], ([number]) => {
    const source = String(BigInt.asIntN(64, number * 0x9e3779b97f4a7c15n))
    const isChanged = String(Number(source)) !== source && BigInt(Number(source)) !== BigInt(source)
    const found = inexactNumbers(`{"a":"12345678901234567","n":${source}}`)
    assert.deepEqual(
      found.map((one) => one.source),
      isChanged ? [source] : []
    )
  })
})
