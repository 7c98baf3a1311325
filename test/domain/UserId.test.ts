// What a user may be called.
import { Schema } from "effect"
import { assert, describe, it } from "vitest"
import { UserId } from "../../src/domain/Identity.ts"

const is = Schema.is(UserId)

describe("user ids", () => {
  it.each(["ann", "Ann Lee", "ann@example.org", "auth0|5f7c", "żółć", "王", "👩", "a".repeat(256)])(
    "takes %j",
    (id) => {
      assert.isTrue(is(id))
    }
  )

  it.each([
    ["nothing", ""],
    ["blanks", "  "],
    ["wide blanks", "\u3000\u00a0"],
    ["257 characters", "a".repeat(257)],
    ["NUL", "a\0"],
    ["a line feed", "a\nb"],
    ["DEL", "a\u007f"],
    ["a C1 control", "ann\u009b"],
    ["a zero width space", "ann\u200b"],
    ["a direction override", "ann\u202e"],
    ["a byte order mark", "\ufeffann"],
    ["a soft hyphen", "an\u00adn"],
    ["a line separator", "a\u2028b"],
    ["half a surrogate pair", "a\ud800"],
    ["the other half", "a\udfff"],
    ["a tag character", "ann\u{e0041}"]
  ])("refuses %s", (_name, id) => {
    assert.isFalse(is(id))
  })
})
