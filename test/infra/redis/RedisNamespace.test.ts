// Every key and channel carries the prefix, whatever the command; the default changes nothing.
import { assert, describe, it } from "vitest"
import { makeRedisNamespace } from "../../../src/infra/redis/RedisNamespace.ts"

describe("the prefix of keys and channels", () => {
  const other = makeRedisNamespace("acme")

  it("takes the place of the default, within the braces of a Cluster too", () => {
    assert.strictEqual(other.named("hotpath:config:ann"), "acme:config:ann")
    assert.strictEqual(other.named("{hotpath:rooms:3}:room:x"), "{acme:rooms:3}:room:x")
    assert.strictEqual(other.named("{hotpath:records}"), "{acme:records}")
    assert.strictEqual(other.named("hotpath:lock:{hotpath:x}"), "acme:lock:{hotpath:x}")
    // What a user may choose is no prefix of ours.
    assert.strictEqual(other.named("hotpathology"), "acme:hotpathology")
  })

  it("is in every key of a command, and in nothing else", () => {
    const sent = (command: string, ...args: ReadonlyArray<string>) => other.args(command, args)
    assert.deepEqual(sent("GET", "hotpath:a"), ["acme:a"])
    assert.deepEqual(sent("SET", "hotpath:a", "hotpath:a", "PX", "1"), ["acme:a", "hotpath:a", "PX", "1"])
    assert.deepEqual(sent("DEL", "hotpath:a", "hotpath:b"), ["acme:a", "acme:b"])
    assert.deepEqual(sent("EVALSHA", "sha", "2", "hotpath:a", "{hotpath:b}", "hotpath:c"), [
      "sha",
      "2",
      "acme:a",
      "{acme:b}",
      "hotpath:c"
    ])
    assert.deepEqual(sent("XREADGROUP", "GROUP", "hotpath", "me", "COUNT", "1", "STREAMS", "{hotpath:records}", ">"), [
      "GROUP",
      "hotpath",
      "me",
      "COUNT",
      "1",
      "STREAMS",
      "{acme:records}",
      ">"
    ])
    assert.deepEqual(sent("XGROUP", "CREATE", "{hotpath:records}", "hotpath", "0", "MKSTREAM"), [
      "CREATE",
      "{acme:records}",
      "hotpath",
      "0",
      "MKSTREAM"
    ])
    assert.deepEqual(sent("XINFO", "CONSUMERS", "{hotpath:records}", "hotpath"), [
      "CONSUMERS",
      "{acme:records}",
      "hotpath"
    ])
    assert.deepEqual(sent("XAUTOCLAIM", "{hotpath:records}", "hotpath", "me", "1", "0-0"), [
      "{acme:records}",
      "hotpath",
      "me",
      "1",
      "0-0"
    ])
    assert.deepEqual(sent("PUBLISH", "hotpath:events", "hotpath:x"), ["acme:events", "hotpath:x"])
    assert.deepEqual(sent("SCRIPT", "LOAD", "return 'hotpath:x'"), ["LOAD", "return 'hotpath:x'"])
    assert.deepEqual(sent("INFO", "server"), ["server"])
  })

  it("changes nothing by default", () => {
    const { args, named } = makeRedisNamespace()
    assert.strictEqual(named("anything"), "anything")
    const given = ["hotpath:a"]
    assert.strictEqual(args("GET", given), given)
  })
})
