// What comes for a room that is not live is bounded in bytes, and says whether all of it is there.
import { assert, describe, it } from "@effect/vitest"
import { retention } from "../../../src/infra/redis/RoomLog.ts"
import { EventBacklog } from "../../../src/rooms/delivery/FeedSync.ts"
import { numbered } from "../../support/RoomFeeds.ts"

describe("a room's backlog", () => {
  it("takes no more than so many bytes, nothing after what did not fit, and begins anew when it is taken", () => {
    const backlog = new EventBacklog()
    const event = (seq: number, size: number) => ({
      ...numbered(seq, 0),
      roomId: "r",
      epoch: "e",
      event: "x".repeat(size)
    })
    const third = Math.floor(retention.bytes / 3)
    assert.deepEqual(
      [1, 2, 3, 4].map((seq) => backlog.add(event(seq, third))),
      [true, true, true, false]
    )
    assert.isFalse(backlog.add(event(5, 1)))
    const { events, isWhole } = backlog.take()
    assert.deepEqual([events.map(({ seq }) => seq), isWhole], [[1, 2, 3], false])
    assert.isTrue(backlog.add(event(6, 1)))
    assert.deepEqual(backlog.take().isWhole, true)
    assert.deepEqual(backlog.take(), { events: [], isWhole: true })
  })
})
