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

  it("is overdue also where the next ping comes before the timeout", () => {
    const heartbeat = new Heartbeat(0)
    for (const at of [1000, 2000, 3000]) heartbeat.pings(at, 1000)
    assert.isFalse(heartbeat.isOverdue(3999, 3000))
    assert.isTrue(heartbeat.isOverdue(4000, 3000))
  })
})
