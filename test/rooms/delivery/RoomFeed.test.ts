// What a room's connections on one instance are told: each thing once, numbered on by one, whatever the bus does.
import { randomUUID } from "node:crypto"
import { assert, describe, it } from "@effect/vitest"
import type { EphemeralEvent, History, SequencedEvent } from "../../../src/cluster/rooms/RoomBus.ts"
import { CloseCodes } from "../../../src/protocol/CloseCodes.ts"

import { eventParams } from "../../../src/rooms/delivery/EventFrame.ts"
import { RoomFeed } from "../../../src/rooms/delivery/RoomFeed.ts"
import { event, history, makeSubscriber, numbered, seated } from "../../support/RoomFeeds.ts"

const upTo = (last: number) => Array.from({ length: last }, (_, n) => n + 1)

/** A line that began at a number, with a seat of ann's that everything is sent to. */
const lineWith = (
  at: {
    seq?: number
    changeNumber?: number
    epoch?: string
    known?: number
    events?: ReadonlyArray<SequencedEvent>
  } = {}
) => {
  const risen: Array<readonly [id: string, connections: number]> = []
  const line = new RoomFeed("room", ({ id }, connections) => risen.push([id, connections]))
  line.start({ epoch: "e", seq: 0, changeNumber: 0, events: [], ...at }, at.known ?? 0)
  const ann = makeSubscriber("ann")
  seated(line, ann)
  return { line, ann, risen }
}

const take = (line: RoomFeed, one: SequencedEvent, epoch = "e") => line.take({ ...one, epoch })

describe("RoomLine", () => {
  it("tells the next number, passes over what it had, and takes nothing else", () => {
    const { ann, line } = lineWith({ seq: 5 })
    assert.isTrue(take(line, numbered(6, 1)))
    assert.isTrue(take(line, numbered(6, 1)))
    assert.isTrue(take(line, numbered(2, 9)))
    assert.isFalse(take(line, numbered(8, 3)))
    assert.isFalse(take(line, numbered(7, 2), "other"))
    assert.isTrue(take(line, numbered(7, 2)))
    assert.deepEqual(ann.seqs(), [])
    assert.strictEqual(line.flush(), 2)
    assert.strictEqual(line.flush(), 0)
    assert.deepEqual(ann.seqs(), [6, 7])
    assert.deepEqual([line.seq, line.visible, line.changeNumber], [7, 7, 2])
  })

  it("knows the last event of another epoch by its digest, when it rested and the event is big", () => {
    const big = (n: number) => ({ ...numbered(n, n), event: `{"text":"${n}${"x".repeat(70_000)}"}` })
    const next = (first: SequencedEvent) => history("f", [first, numbered(2, 2)])
    for (const [first, isSame] of [
      [big(1), true],
      [{ ...big(1), event: big(2).event }, false]
    ] as const) {
      const { ann, line } = lineWith()
      take(line, big(1))
      line.rest()
      line.rest()
      assert.strictEqual(line.catchUp(next(first)), isSame)
      line.flush()
      assert.deepEqual(ann.seqs(), isSame ? [1, 2] : [1])
    }
  })

  it("frames an event once, for all, as JSON-RPC has it", () => {
    const { ann, line } = lineWith()
    const bob = makeSubscriber("bob")
    seated(line, bob)
    take(line, { ...numbered(1, 1), event: `{"text":"größe 😀 ${"x".repeat(70_000)}"}` })
    take(line, numbered(2, 2))
    assert.strictEqual(line.flush(), 4)
    assert.strictEqual(ann.writes.length, 1)
    assert.strictEqual(ann.writes[0], bob.writes[0])
    const [first] = ann.told()
    assert.strictEqual(first?.method, "room.event")
    assert.deepEqual(first?.params, JSON.parse(eventParams("room", 1, { ...numbered(1, 1), event: first?.text ?? "" })))
  })

  it("tells of a message once, though the buffer has it and Postgres, too", () => {
    const { ann, line } = lineWith()
    const sent = (seq: number, changeNumber: number, messageId: string): SequencedEvent => ({
      ...numbered(seq, changeNumber),
      type: "message.sent",
      event: JSON.stringify({ type: "message.sent", message: { messageId, body: "x" } })
    })
    const ids = Array.from({ length: 3 }, () => randomUUID())
    const [one = "", two = "", three = ""] = ids
    take(line, sent(1, 0, one))
    take(line, sent(2, 1, one))
    take(line, sent(3, 0, two))
    line.flush()
    // Told without the bus, which brings it when it is back, after many others.
    line.tellAlone(sent(0, 2, three))
    for (let n = 3; n < 1000; n++) line.tellAlone(sent(0, n, randomUUID()))
    line.flush()
    const before = ann.seqs().length
    take(line, sent(4, 0, three))
    line.flush()
    assert.strictEqual(ann.seqs().length, before)
    assert.deepEqual(ann.seqs(), upTo(before))
    assert.isFalse(line.isResumable)
  })

  it("counts connections by user, and says how many are left when one goes", () => {
    const { line, risen } = lineWith()
    const [bob, again] = [makeSubscriber("bob"), makeSubscriber("bob")]
    assert.isTrue(line.sit(bob).isNew)
    assert.isTrue(line.sit(again).isNew)
    assert.strictEqual(line.sit(bob).answers, 2)
    assert.deepEqual(
      [...line.counts],
      [
        ["ann", 1],
        ["bob", 2]
      ]
    )
    line.rise(bob.id)
    line.rise(bob.id)
    line.rise("nobody")
    line.rise(again.id)
    assert.deepEqual(risen, [
      [bob.id, 1],
      [again.id, 0]
    ])
    assert.deepEqual([...line.counts], [["ann", 1]])
  })

  it("holds back what comes before the answer, and sends it in its order after it", () => {
    const { ann, line } = lineWith()
    const bob = makeSubscriber("bob")
    let held = line.sit(bob)
    held.isGood = true
    take(line, numbered(1, 1))
    line.flush()
    // What he is given as the room's state has everything up to here.
    line.begin(held)
    assert.strictEqual(line.cursor, "e:1")
    for (const n of [2, 3]) {
      take(line, numbered(n, n))
      line.flush()
    }
    // Told, but not sent yet.
    take(line, numbered(4, 4))
    assert.deepEqual(bob.seqs(), [])
    line.release(held)
    assert.deepEqual(bob.seqs(), [2, 3])
    take(line, numbered(5, 5))
    line.flush()
    assert.deepEqual(bob.seqs(), [2, 3, 4, 5])
    assert.deepEqual(ann.seqs(), [1, 2, 3, 4, 5])
    // Once more, as to resume: from the next on.
    held = line.sit(bob)
    held.isGood = true
    take(line, numbered(6, 6))
    line.flush()
    line.begin(held)
    take(line, numbered(7, 7))
    line.flush()
    line.release(held)
    assert.deepEqual(bob.seqs(), [2, 3, 4, 5, 7])
  })

  it("gives up a connection that holds too much back", () => {
    const { ann, line } = lineWith()
    const bob = makeSubscriber("bob")
    line.sit(bob)
    for (let n = 1; n <= 70; n++) {
      take(line, { ...numbered(n, n), event: JSON.stringify({ text: "x".repeat(16_384) }) })
      line.flush()
      if (n === 60) assert.deepEqual(bob.closed, [])
    }
    assert.deepEqual(bob.closed[0], CloseCodes.overload)
    assert.deepEqual(ann.closed, [])
    assert.deepEqual(ann.seqs(), upTo(70))
  })

  it("tells who left that they did, on all their connections, and nothing after it", () => {
    const { ann, line, risen } = lineWith()
    const [bob, held, cat] = [makeSubscriber("bob"), makeSubscriber("bob"), makeSubscriber("cat")]
    const waiting = line.sit(held)
    for (const one of [bob, cat]) seated(line, one)
    take(line, numbered(1, 1))
    take(line, { ...numbered(2, 2), type: "member.left", subject: "bob" })
    take(line, numbered(3, 3))
    line.flush()
    assert.deepEqual(bob.seqs(), [1, 2])
    assert.deepEqual(held.seqs(), [])
    waiting.isGood = true
    line.release(waiting)
    assert.deepEqual(held.seqs(), [1, 2])
    for (const one of [ann, cat]) assert.deepEqual(one.seqs(), [1, 2, 3])
    assert.deepEqual(risen, [
      [held.id, 1],
      [bob.id, 0]
    ])
    assert.isFalse(line.counts.has("bob"))
  })

  it("does so without the bus too, and ends with its room", () => {
    const { ann, line, risen } = lineWith()
    const bob = makeSubscriber("bob")
    seated(line, bob)
    line.tellAlone({ ...event(), type: "member.left", subject: "bob", changeNumber: 1 })
    line.tellAlone({ ...event(), type: "room.deleted", changeNumber: 2 })
    line.tellAlone({ ...event(), changeNumber: 3 })
    line.flush()
    assert.deepEqual(bob.seqs(), [1])
    assert.deepEqual(ann.seqs(), [1, 2])
    assert.deepEqual(risen, [
      [bob.id, 0],
      [ann.id, 0]
    ])
    assert.strictEqual(line.seats.size, 0)
  })

  it("told alone: counts on, and the bus's own of the same change is passed over", () => {
    const { ann, line } = lineWith({ seq: 10, changeNumber: 4 })
    assert.isTrue(line.isResumable)
    assert.isTrue(line.tellAlone({ ...event(), changeNumber: 5 }))
    assert.isFalse(line.tellAlone({ ...event(), changeNumber: 5 }))
    assert.isFalse(line.tellAlone({ ...event(), changeNumber: 4 }))
    assert.isTrue(line.tellAlone(event()))
    // Nobody can resume from what only we have told.
    assert.isFalse(line.isResumable)
    assert.strictEqual(line.cursor, "none:12")
    take(line, numbered(11, 5))
    take(line, numbered(12, 6))
    line.flush()
    assert.deepEqual(ann.seqs(), [11, 12, 13])
    assert.deepEqual([line.seq, line.visible, line.changeNumber, line.offset], [12, 13, 6, 1])
    // Not before another epoch either, though the bus has brought it all.
    assert.strictEqual(line.cursor, "none:13")
    const passed = lineWith({ seq: 3 })
    passed.line.tellAlone(event())
    assert.strictEqual(passed.line.cursor, "none:4")
  })

  it("without the bus from the start: knows what the repository had, and joins the bus's epoch later", () => {
    const { ann, line } = lineWith()
    const alone = new RoomFeed("room", () => {})
    alone.startAlone(7)
    seated(alone, ann)
    assert.isFalse(alone.tellAlone({ ...event(), changeNumber: 7 }))
    assert.isTrue(alone.tellAlone({ ...event(), changeNumber: 8 }))
    assert.isFalse(take(alone, numbered(1, 8), "e"))
    assert.strictEqual(alone.cursor, "none:1")
    const missed = history("e", [numbered(40, 0), numbered(41, 8), numbered(42, 9)], { isWhole: false })
    assert.isTrue(alone.catchUp(missed))
    alone.flush()
    // What passed before it was there is nothing to it.
    assert.deepEqual(ann.seqs(), [1, 2])
    assert.deepEqual([alone.epoch, alone.seq, alone.changeNumber, alone.cursor], ["e", 42, 9, "e~-40:2"])
    assert.strictEqual(line.cursor, "e:0")
  })

  it("catches up within its epoch: all that came after, or nothing", () => {
    const { ann, line } = lineWith({ seq: 3, changeNumber: 3 })
    const events = [numbered(4, 4), numbered(5, 0), numbered(6, 5)]
    assert.isFalse(line.catchUp(history("e", events, { isWhole: false })))
    assert.deepEqual([line.seq, line.flush()], [3, 0])
    assert.isTrue(line.catchUp(history("e", events)))
    assert.isTrue(line.catchUp({ ...history("e", []), seq: 6, changeNumber: 5 }))
    // Nothing was missed: whether it is whole does not matter.
    assert.isTrue(line.catchUp({ ...history("e", [], { isWhole: false }), seq: 6, changeNumber: 5 }))
    line.flush()
    assert.deepEqual(ann.seqs(), [4, 5, 6])
  })

  it("catches up with another epoch if what it saw last still stands there, and no change is missing after it", () => {
    const seen = numbered(5, 3)
    const began = (): ReturnType<typeof lineWith> => lineWith({ seq: 5, changeNumber: 3, epoch: "old", events: [seen] })
    const cases: ReadonlyArray<readonly [History, ReadonlyArray<number> | undefined]> = [
      [history("new", [seen, numbered(6, 0), numbered(7, 4)]), [0, 4]],
      [history("new", [seen]), []],
      // Something else has its number; numbers began anew; it is not there any more; there is a hole.
      [history("new", [{ ...numbered(5, 3), at: "another time" }, numbered(6, 4)]), undefined],
      [history("new", [numbered(1, 4), numbered(2, 0), numbered(3, 5)]), undefined],
      [history("new", []), undefined],
      [history("new", [seen, numbered(6, 5)]), undefined],
      [{ ...history("new", [seen, numbered(6, 4)], { isWhole: false }), seq: 8 }, undefined]
    ]
    for (const [missed, wanted] of cases) {
      const { ann, line } = began()
      assert.strictEqual(line.catchUp(missed), wanted !== undefined)
      line.flush()
      assert.deepEqual(ann.revisions(), [...(wanted ?? [])])
      assert.deepEqual(
        ann.seqs(),
        (wanted ?? []).map((_, n) => 6 + n)
      )
      const stands = wanted === undefined ? ["old", 5] : ["new", missed.seq]
      assert.deepEqual([line.epoch, line.seq], stands)
    }
  })

  it("takes no change whose predecessor it never had, though the numbers fit", () => {
    const { ann, line } = lineWith({ seq: 5, changeNumber: 3 })
    assert.isFalse(take(line, numbered(6, 5)))
    assert.isFalse(line.catchUp(history("e", [numbered(6, 5)])))
    line.flush()
    assert.deepEqual(ann.seqs(), [])
    // What was committed when its connections came in, they have; what was told alone as well.
    const later = lineWith({ changeNumber: 0, known: 4 })
    later.line.tellAlone({ ...event(), changeNumber: 5 })
    assert.isTrue(take(later.line, numbered(1, 6)))
    assert.isFalse(take(later.line, numbered(2, 8)))
  })

  it("catching up with another epoch needs nothing that was told alone, and then can be resumed from", () => {
    const seen = numbered(5, 3)
    const { ann, line } = lineWith({ seq: 5, changeNumber: 3, epoch: "old", events: [seen] })
    for (const changeNumber of [4, 5]) line.tellAlone({ ...event(), changeNumber })
    line.tellAlone(event())
    assert.isFalse(line.catchUp(history("new", [seen, numbered(6, 7)])))
    assert.isTrue(line.catchUp(history("new", [seen, numbered(6, 4), numbered(7, 5), numbered(8, 6)])))
    line.flush()
    assert.deepEqual(ann.seqs(), [6, 7, 8, 9])
    assert.deepEqual([line.isResumable, line.cursor], [true, "new~1:9"])
  })

  it("makes of an event its params, as they are", () => {
    const passed: EphemeralEvent = { at: "t", type: "message.sent", subject: "", event: '{"type":"message.sent"}' }
    assert.deepEqual(JSON.parse(eventParams("r", 7, passed)), {
      roomId: "r",
      seq: 7,
      at: "t",
      event: { type: "message.sent" }
    })
  })
})
