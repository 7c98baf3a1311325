// Texts that come in parts: the same however they are cut into chunks.
import { assert, describe, it, vi } from "@effect/vitest"
import { Schema } from "effect"
import { cut, TextStream } from "../../../src/calls/fetch/TextStream.ts"

const read = (
  contentType: string,
  parts: ReadonlyArray<Buffer>,
  map = (piece: unknown) => piece,
  maxCharacters = 100
) => {
  const told: Array<string> = []
  const stream = new TextStream({ maxCharacters, maxDepth: 8, map, onText: (text) => told.push(text) })
  assert.isTrue(stream.begins(200, contentType))
  let taken = 0
  for (const part of parts) {
    taken++
    if (!stream.takes(part)) break
  }
  stream.ends()
  assert.strictEqual(told.join(""), stream.text)
  return { text: stream.text, isBroken: stream.isBroken, taken, told }
}
const events = "text/event-stream; charset=utf-8"
const lines = "application/x-ndjson"

describe("TextStream", () => {
  it.prop(
    "reads the same in whatever chunks",
    [Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 9 })))],
    ([sizes]) => {
      const cuts = (text: string) => {
        const whole = Buffer.from(text)
        const parts: Array<Buffer> = []
        let from = 0
        for (const size of sizes) {
          parts.push(whole.subarray(from, from + size))
          from += size
        }
        return [...parts, whole.subarray(from)]
      }
      const stream =
        ': hello\r\n\r\ndata: {"text":"grö"}\r\n\r\nevent: x\ndata:"ße "\n\ndata: plain\ndata: 😀\n\nid: 1\n\rdata: {"role":"a"}\r\rdata: last'
      assert.deepInclude(read(events, cuts(stream)), { text: "größe plain\n😀last", isBroken: false })
      const json = '{"delta":"a"}\n"b"\r\n\n{"content":"😀"}\n{"other":1}\n{"response":"d"}'
      assert.deepInclude(read(lines, cuts(json)), { text: "ab😀d", isBroken: false })
    }
  )

  it("looks at each character of a line that comes byte by byte once", () => {
    const looked = vi.spyOn(String.prototype, "matchAll")
    const text = `data: ${"x".repeat(100_000)}\n\n`
    const parts = Array.from(Buffer.from(text), (one) => Buffer.of(one))
    const found = read(events, parts, undefined, 100_000)
    const characters = looked.mock.contexts.reduce((sum: number, one) => sum + String(one).length, 0)
    looked.mockRestore()
    assert.lengthOf(found.text, 100_000)
    assert.isAtMost(characters, text.length)
  })

  it("takes no other answers", () => {
    const begins = (status: number, type: string) =>
      new TextStream({ maxCharacters: 9, maxDepth: 8, map: (piece) => piece, onText: () => {} }).begins(status, type)
    for (const type of ["application/json", "text/html", "", "text/event-streams"]) assert.isFalse(begins(200, type))
    assert.isFalse(begins(500, events))
  })

  it("ends with [DONE], with too long a text, and with what is no JSON", () => {
    const parts = (...texts: ReadonlyArray<string>) => texts.map((text) => Buffer.from(text))
    const done = parts("data: a\n\n", "data: [DONE]\n\n", "data: b\n\n")
    assert.deepInclude(read(events, done), { text: "a", taken: 2, isBroken: false })
    const long = parts("data: abc\n\n", "data: d😀\n\n", "data: f\n\n")
    assert.deepInclude(read(events, long, undefined, 5), { text: "abcd", taken: 2, isBroken: false })
    const wrong = parts('{"text":"a"}\n', "<html>\n", '"b"\n')
    assert.deepInclude(read(lines, wrong), { text: "a", taken: 2, isBroken: true })
    assert.isTrue(read(lines, parts('{"text":\n')).isBroken)
    const plain = ["[1] says so", '"Tea', "{ x", "[".repeat(4)]
    const stream = parts(...plain.map((text) => `data: ${text}\n\n`))
    assert.deepInclude(read(events, stream), { text: plain.join(""), isBroken: false })
    assert.isTrue(read(events, parts("data: ", "x".repeat(200_000), "x\n\n")).isBroken)
    assert.isTrue(read(events, parts(`data: ${"[".repeat(9)}${"]".repeat(9)}\n\n`)).isBroken)
  })

  it("takes an error that comes midway for no good end", () => {
    const parts = (...texts: ReadonlyArray<string>) => texts.map((text) => Buffer.from(text))
    const named = parts("data: a\n\n", "event: error\ndata: overloaded\n\n", "data: b\n\n")
    assert.deepInclude(read(events, named), { taken: 2, isBroken: true })
    for (const error of ['{"message":"overloaded"}', '"overloaded"', "{}", "true"]) {
      assert.isTrue(read(events, parts('data: "a"\n\n', `data: {"error":${error}}\n\n`)).isBroken)
      assert.isTrue(read(lines, parts(`{"text":"a"}\n{"text":"b","error":${error}}`)).isBroken)
    }
    for (const none of ["null", "false", '""']) {
      assert.isFalse(read(events, parts(`data: {"text":"a","error":${none}}\n\n`)).isBroken)
    }
    const nameless = parts("event: error\n\n", "event: delta\ndata: a\n\n")
    assert.deepInclude(read(events, nameless), { text: "a", isBroken: false })
  })

  it("finds the text where the definition points", () => {
    const map = (piece: unknown) =>
      (piece as { choices?: ReadonlyArray<{ delta?: { content?: string } }> }).choices?.[0]?.delta?.content
    const stream = ["Hel", "lo"].map((content) =>
      Buffer.from(`data: {"choices":[{"delta":{"content":"${content}"}}]}\n\n`)
    )
    const first = Buffer.from('data: {"choices":[{"delta":{"role":"assistant"}}]}\n\n')
    assert.deepInclude(read(events, [first, ...stream], map), { text: "Hello", told: ["Hel", "lo"] })
  })

  it("cuts no character in half", () => {
    assert.strictEqual(cut("a😀b", 2), "a")
    assert.strictEqual(cut("a😀b", 3), "a😀")
    assert.strictEqual(cut("ab", 2), "ab")
  })
})
