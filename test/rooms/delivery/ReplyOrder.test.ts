// The reply to a write leaves before the events of later changes: what a connection with writes under way is sent, and when.
import { assert, describe, it } from "@effect/vitest"
import type { RoomEvent } from "../../../src/domain/RoomEvent.ts"
import { CloseCodes } from "../../../src/protocol/CloseCodes.ts"
import { RoomFeed } from "../../../src/rooms/delivery/RoomFeed.ts"
import { makeSubscriber, numbered, seated } from "../../support/RoomFeeds.ts"

const lineOfTwo = () => {
  const line = new RoomFeed("room", () => {})
  line.start({ epoch: "e", seq: 0, changeNumber: 0, events: [] }, 0)
  const [ann, bob] = [makeSubscriber("ann"), makeSubscriber("bob")]
  seated(line, ann)
  seated(line, bob)
  let seq = 0
  const tell = (type: RoomEvent["type"], subject = "", text = "{}") => {
    seq++
    line.take({ ...numbered(seq, 0), type, subject, event: text, epoch: "e" })
    line.flush()
  }
  return { line, ann, bob, tell }
}

describe("the order of replies and events", () => {
  it("holds a write's own event, and all after it, until its reply has left", () => {
    const { ann, bob, line, tell } = lineOfTwo()
    const answered = line.writing(ann.id)
    tell("document.updated", bob.id)
    tell("document.updated", ann.id)
    tell("document.updated", bob.id)
    assert.deepEqual(ann.seqs(), [1])
    assert.deepEqual(bob.seqs(), [1, 2, 3])
    answered()
    assert.deepEqual(ann.seqs(), [1, 2, 3])
    tell("document.updated", ann.id)
    assert.deepEqual(ann.seqs(), [1, 2, 3, 4])
  })

  it("holds what may be a write's own event, and lets pass what can't be", () => {
    const { ann, line, tell } = lineOfTwo()
    const answered = line.writing(ann.id)
    tell("presence.joined", "bob")
    tell("generate.delta")
    assert.deepEqual(ann.seqs(), [1, 2])
    tell("message.sent")
    tell("generate.delta")
    assert.deepEqual(ann.seqs(), [1, 2])
    answered()
    assert.deepEqual(ann.seqs(), [1, 2, 3, 4])
  })

  it("waits for the writes that were begun when an event came, and for no later ones", () => {
    const { ann, line, tell } = lineOfTwo()
    const first = line.writing(ann.id)
    tell("message.edited")
    const second = line.writing(ann.id)
    tell("message.edited")
    const third = line.writing(ann.id)
    second()
    assert.deepEqual(ann.seqs(), [])
    first()
    assert.deepEqual(ann.seqs(), [1, 2])
    tell("message.edited")
    assert.deepEqual(ann.seqs(), [1, 2])
    third()
    third()
    assert.deepEqual(ann.seqs(), [1, 2, 3])
  })

  it("keeps what a removed member is told for after the reply, and nothing for one that left", () => {
    const { ann, bob, line, tell } = lineOfTwo()
    const [annAnswered, bobAnswered] = [line.writing(ann.id), line.writing(bob.id)]
    tell("message.sent")
    tell("member.left", "ann")
    tell("message.sent")
    line.leave(bob.id)
    annAnswered()
    bobAnswered()
    assert.deepEqual(ann.seqs(), [1, 2])
    assert.deepEqual(bob.seqs(), [])
  })

  it("keeps the order for a connection that comes in again meanwhile", () => {
    const { ann, line, tell } = lineOfTwo()
    const answered = line.writing(ann.id)
    const held = line.sit(ann)
    tell("message.sent")
    held.isGood = true
    line.release(held)
    assert.deepEqual(ann.seqs(), [])
    tell("message.sent")
    answered()
    assert.deepEqual(ann.seqs(), [1, 2])
  })

  it("closes a connection for which too much waits", () => {
    const { ann, line, tell } = lineOfTwo()
    line.writing(ann.id)
    const text = JSON.stringify({ text: "x".repeat(300_000) })
    for (let n = 0; n < 3; n++) tell("message.sent", "", text)
    assert.deepEqual(ann.closed, [])
    tell("message.sent", "", text)
    assert.deepEqual(ann.closed, [CloseCodes.overload])
  })
})
