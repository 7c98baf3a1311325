// A client's position in a room, as text that it keeps and gives back.
import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { parseCursor, RoomFeed } from "../../../src/rooms/delivery/RoomFeed.ts"
import { event, history, numbered } from "../../support/RoomFeeds.ts"

describe("Cursor", () => {
  it.prop(
    "reads a cursor as it was written",
    [
      Schema.Literals(["0b1c2d3e-4f5a", "e", "none"]),
      Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 10 ** 14 })),
      Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 2000 }))
    ],
    ([epoch, seq, alone]) => {
      const feed = new RoomFeed("room", () => {})
      const last = { ...numbered(seq, 0), at: "then" }
      feed.start({ epoch, seq, changeNumber: 0, events: [last] }, 0)
      for (let n = 0; n < alone; n++) feed.deliverLocally(event())
      feed.catchUp({ ...history(`${epoch}-`, seq === 0 ? [] : [last]), seq })
      const cursor = parseCursor(feed.cursor)
      assert.deepEqual(cursor, { epoch: `${epoch}-`, offset: alone, clientSeq: seq + alone })
    }
  )

  it.prop("makes of any other text no cursor", [Schema.String], ([text]) => {
    const cursor = parseCursor(text)
    if (cursor !== undefined) assert.match(text, /^[0-9a-z-]{1,40}(~-?\d{1,15})?:\d{1,15}$/)
    for (const bad of ["", ":", "e:", ":5", "e:-5", "e:5 ", "E:5", "e~:5", "e~1~1:5", "e:5\n", `e:${"9".repeat(16)}`]) {
      assert.isUndefined(parseCursor(bad), bad)
    }
  })
})
