// When a connection is pinged, and when it counts as dead.
import { assert, describe, it } from "vitest"
import { Heartbeat } from "../../../src/gateway/connection/Heartbeat.ts"

describe("the heartbeat", () => {
  it("pings each interval, the first time up to a second early", () => {
    const heartbeat = new Heartbeat(0)
    assert.isFalse(heartbeat.pings(23_999, 25_000))
    assert.isTrue(heartbeat.pings(25_000, 25_000))
    assert.isFalse(heartbeat.pings(49_999, 25_000))
    assert.isTrue(heartbeat.pings(50_000, 25_000))
  })

  it("is overdue when no sign of life follows a ping in time", () => {
    const heartbeat = new Heartbeat(0)
    assert.isFalse(heartbeat.isOverdue(100_000, 10_000))
    heartbeat.pings(25_000, 25_000)
    assert.isFalse(heartbeat.isOverdue(34_999, 10_000))
    assert.isTrue(heartbeat.isOverdue(35_000, 10_000))
    assert.isTrue(heartbeat.alive())
    assert.isFalse(heartbeat.isOverdue(35_000, 10_000))
    assert.isFalse(heartbeat.alive())
  })
})
