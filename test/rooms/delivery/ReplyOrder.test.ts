// The reply to a write leaves before the events of later changes: what a connection with writes under way is sent, and when.
import { assert, describe, it } from "@effect/vitest"
import type { RoomEvent } from "../../../src/domain/RoomEvent.ts"
import { CloseCodes } from "../../../src/protocol/CloseCodes.ts"
import { RoomFeed } from "../../../src/rooms/delivery/RoomFeed.ts"
import { makeSubscriber, numbered, subscribed } from "../../support/RoomFeeds.ts"

const feedOfTwo = () => {
  const feed = new RoomFeed("room", () => {})
  feed.start({ epoch: "e", seq: 0, changeNumber: 0, events: [] }, 0)
  const [ann, bob] = [makeSubscriber("ann"), makeSubscriber("bob")]
  subscribed(feed, ann)
  subscribed(feed, bob)
  let seq = 0
  const publish = (type: RoomEvent["type"], subject = "", text = "{}") => {
    seq++
    feed.take({ ...numbered(seq, 0), type, subject, event: text, epoch: "e" })
    feed.subscriptions.flush()
  }
  return { feed, ann, bob, publish }
}

describe("the order of replies and events", () => {
  it("withholds a write's own event, and all after it, until its reply was sent", () => {
    const { ann, bob, feed, publish } = feedOfTwo()
    const answered = feed.subscriptions.beginWrite(ann.id)
    publish("document.updated", bob.id)
    publish("document.updated", ann.id)
    publish("document.updated", bob.id)
    assert.deepEqual(ann.seqs(), [1])
    assert.deepEqual(bob.seqs(), [1, 2, 3])
    answered()
    assert.deepEqual(ann.seqs(), [1, 2, 3])
    publish("document.updated", ann.id)
    assert.deepEqual(ann.seqs(), [1, 2, 3, 4])
  })

  it("withholds what may be a write's own event, and lets pass what can't be", () => {
    const { ann, feed, publish } = feedOfTwo()
    const answered = feed.subscriptions.beginWrite(ann.id)
    publish("presence.joined", "bob")
    publish("generate.delta")
    assert.deepEqual(ann.seqs(), [1, 2])
    publish("message.sent")
    publish("generate.delta")
    assert.deepEqual(ann.seqs(), [1, 2])
    answered()
    assert.deepEqual(ann.seqs(), [1, 2, 3, 4])
  })

  it("waits for the writes that were begun when an event came, and for no later ones", () => {
    const { ann, feed, publish } = feedOfTwo()
    const first = feed.subscriptions.beginWrite(ann.id)
    publish("message.edited")
    const second = feed.subscriptions.beginWrite(ann.id)
    publish("message.edited")
    const third = feed.subscriptions.beginWrite(ann.id)
    second()
    assert.deepEqual(ann.seqs(), [])
    first()
    assert.deepEqual(ann.seqs(), [1, 2])
    publish("message.edited")
    assert.deepEqual(ann.seqs(), [1, 2])
    third()
    third()
    assert.deepEqual(ann.seqs(), [1, 2, 3])
  })

  it("sends a removed member their events after the reply, and nothing to one that left", () => {
    const { ann, bob, feed, publish } = feedOfTwo()
    const [annAnswered, bobAnswered] = [feed.subscriptions.beginWrite(ann.id), feed.subscriptions.beginWrite(bob.id)]
    publish("message.sent")
    publish("member.left", "ann")
    publish("message.sent")
    feed.subscriptions.leave(bob.id)
    annAnswered()
    bobAnswered()
    assert.deepEqual(ann.seqs(), [1, 2])
    assert.deepEqual(bob.seqs(), [])
  })

  it("keeps the order for a connection that comes in again meanwhile", () => {
    const { ann, feed, publish } = feedOfTwo()
    const answered = feed.subscriptions.beginWrite(ann.id)
    const pending = feed.subscriptions.subscribe(ann)
    publish("message.sent")
    pending.isAccepted = true
    feed.subscriptions.release(pending)
    assert.deepEqual(ann.seqs(), [])
    publish("message.sent")
    answered()
    assert.deepEqual(ann.seqs(), [1, 2])
  })

  it("closes a connection with too many withheld frames", () => {
    const { ann, feed, publish } = feedOfTwo()
    feed.subscriptions.beginWrite(ann.id)
    const text = JSON.stringify({ text: "x".repeat(300_000) })
    for (let n = 0; n < 3; n++) publish("message.sent", "", text)
    assert.deepEqual(ann.closed, [])
    publish("message.sent", "", text)
    assert.deepEqual(ann.closed, [CloseCodes.overload])
  })
})
