// What a room's connections on one instance are sent: each event once, numbered on by one, whatever the bus does.
import { randomUUID } from "node:crypto"
import { assert, describe, it } from "@effect/vitest"
import type { EphemeralEvent, History, SequencedEvent } from "../../../src/cluster/rooms/RoomBus.ts"
import { rescued, rescuedEvent } from "../../../src/domain/RoomEvent.ts"
import { CloseCodes } from "../../../src/protocol/CloseCodes.ts"

import { eventParams } from "../../../src/rooms/delivery/EventFrame.ts"
import { RoomFeed } from "../../../src/rooms/delivery/RoomFeed.ts"
import { event, history, makeSubscriber, numbered, subscribed } from "../../support/RoomFeeds.ts"

const upTo = (last: number) => Array.from({ length: last }, (_, n) => n + 1)

/** A feed that started at a number, with a subscription of ann's. */
const feedWith = (
  at: {
    seq?: number
    changeNumber?: number
    epoch?: string
    known?: number
    events?: ReadonlyArray<SequencedEvent>
  } = {}
) => {
  const ended: Array<readonly [id: string, connections: number]> = []
  const feed = new RoomFeed("room", ({ id }, connections) => ended.push([id, connections]))
  feed.start({ epoch: "e", seq: 0, changeNumber: 0, events: [], ...at }, at.known ?? 0)
  const ann = makeSubscriber("ann")
  subscribed(feed, ann)
  return { feed, ann, ended }
}

const take = (feed: RoomFeed, one: SequencedEvent, epoch = "e") => feed.take({ ...one, epoch })

describe("RoomFeed", () => {
  it("takes the next seq, skips those it had, and refuses all others", () => {
    const { ann, feed } = feedWith({ seq: 5 })
    assert.isTrue(take(feed, numbered(6, 1)))
    assert.isTrue(take(feed, numbered(6, 1)))
    assert.isTrue(take(feed, numbered(2, 9)))
    assert.isFalse(take(feed, numbered(8, 3)))
    assert.isFalse(take(feed, numbered(7, 2), "other"))
    assert.isTrue(take(feed, numbered(7, 2)))
    assert.deepEqual(ann.seqs(), [])
    assert.strictEqual(feed.subscriptions.flush(), 2)
    assert.strictEqual(feed.subscriptions.flush(), 0)
    assert.deepEqual(ann.seqs(), [6, 7])
    assert.deepEqual([feed.seq, feed.clientSeq, feed.changeNumber], [7, 7, 2])
  })

  it("goes no further than a rescue, of which no subscriber is sent anything, unless all have read the room since", () => {
    const rescue = (seq: number, changeNumber: number): SequencedEvent => ({
      ...numbered(seq, changeNumber),
      type: rescued,
      event: rescuedEvent
    })
    const { ann, feed } = feedWith()
    assert.isTrue(take(feed, numbered(1, 1)))
    assert.isFalse(take(feed, rescue(2, 2)))
    assert.isFalse(feed.catchUp(history("e", [rescue(2, 2), numbered(3, 3)])))
    assert.isFalse(feed.catchUp(history("f", [numbered(1, 1), rescue(2, 2)])))
    assert.isFalse(feed.deliverLocally(rescue(2, 2)))
    assert.strictEqual(feed.subscriptions.flush(), 1)
    assert.deepEqual(ann.seqs(), [1])
    assert.deepEqual([feed.isRead(1), feed.isRead(2)], [true, false])
    const { feed: later } = feedWith({ seq: 1, changeNumber: 1, known: 2 })
    assert.isTrue(later.isRead(2))
  })

  it("recognises its last event in another epoch by the digest of a room at rest", () => {
    const big = (n: number) => ({ ...numbered(n, n), event: `{"text":"${n}${"x".repeat(70_000)}"}` })
    const next = (first: SequencedEvent) => history("f", [first, numbered(2, 2)])
    for (const [first, isSame] of [
      [big(1), true],
      [{ ...big(1), event: big(2).event }, false]
    ] as const) {
      const { ann, feed } = feedWith()
      take(feed, big(1))
      feed.digestLast()
      feed.digestLast()
      assert.strictEqual(feed.catchUp(next(first)), isSame)
      feed.subscriptions.flush()
      assert.deepEqual(ann.seqs(), isSame ? [1, 2] : [1])
    }
  })

  it("frames an event once, for all, as JSON-RPC has it", () => {
    const { ann, feed } = feedWith()
    const bob = makeSubscriber("bob")
    subscribed(feed, bob)
    take(feed, { ...numbered(1, 1), event: `{"text":"größe 😀 ${"x".repeat(70_000)}"}` })
    take(feed, numbered(2, 2))
    assert.strictEqual(feed.subscriptions.flush(), 4)
    assert.strictEqual(ann.writes.length, 1)
    assert.strictEqual(ann.writes[0], bob.writes[0])
    const [first] = ann.sent()
    assert.strictEqual(first?.method, "room.event")
    assert.deepEqual(first?.params, JSON.parse(eventParams("room", 1, { ...numbered(1, 1), event: first?.text ?? "" })))
  })

  it("delivers a message once, though the buffer and Postgres both publish it", () => {
    const { ann, feed } = feedWith()
    const sent = (seq: number, changeNumber: number, messageId: string): SequencedEvent => ({
      ...numbered(seq, changeNumber),
      type: "message.sent",
      event: JSON.stringify({ type: "message.sent", message: { messageId, body: "x" } })
    })
    const ids = Array.from({ length: 3 }, () => randomUUID())
    const [one = "", two = "", three = ""] = ids
    take(feed, sent(1, 0, one))
    take(feed, sent(2, 1, one))
    take(feed, sent(3, 0, two))
    feed.subscriptions.flush()
    // Delivered without the bus, which brings it when it is back, after many others.
    feed.deliverLocally(sent(0, 2, three))
    for (let n = 3; n < 1000; n++) feed.deliverLocally(sent(0, n, randomUUID()))
    feed.subscriptions.flush()
    const before = ann.seqs().length
    take(feed, sent(4, 0, three))
    feed.subscriptions.flush()
    assert.strictEqual(ann.seqs().length, before)
    assert.deepEqual(ann.seqs(), upTo(before))
    assert.isFalse(feed.isResumable)
  })

  it("skips an update that only the bus had while newer ones were delivered around it", () => {
    const { ann, feed } = feedWith()
    const updated = (version: number) => ({
      ...event(),
      type: "document.updated" as const,
      event: JSON.stringify({ type: "document.updated", name: "main", version })
    })
    feed.deliverLocally({ ...updated(4), changeNumber: 1 })
    for (const [n, version] of [3, 4, 5].entries())
      assert.isTrue(take(feed, { ...updated(version), seq: n + 1, changeNumber: version === 4 ? 1 : 0 }))
    feed.subscriptions.flush()
    assert.deepEqual(ann.seqs(), [1, 2])
  })

  it("counts connections by user, and says how many are left when one goes", () => {
    const { feed, ended } = feedWith()
    const [bob, again] = [makeSubscriber("bob"), makeSubscriber("bob")]
    assert.isTrue(feed.subscriptions.subscribe(bob).isNew)
    assert.isTrue(feed.subscriptions.subscribe(again).isNew)
    assert.strictEqual(feed.subscriptions.subscribe(bob).replies, 2)
    assert.deepEqual(
      [...feed.subscriptions.counts],
      [
        ["ann", 1],
        ["bob", 2]
      ]
    )
    feed.subscriptions.unsubscribe(bob.id)
    feed.subscriptions.unsubscribe(bob.id)
    feed.subscriptions.unsubscribe("unknown")
    feed.subscriptions.unsubscribe(again.id)
    assert.deepEqual(ended, [
      [bob.id, 1],
      [again.id, 0]
    ])
    assert.deepEqual([...feed.subscriptions.counts], [["ann", 1]])
  })

  it("withholds what comes before the reply, and sends it in its order after it", () => {
    const { ann, feed } = feedWith()
    const bob = makeSubscriber("bob")
    let pending = feed.subscriptions.subscribe(bob)
    pending.isAccepted = true
    take(feed, numbered(1, 1))
    feed.subscriptions.flush()
    // What he is given as the room's state has everything up to here.
    feed.subscriptions.cover(pending)
    assert.strictEqual(feed.cursor, "e:1")
    for (const n of [2, 3]) {
      take(feed, numbered(n, n))
      feed.subscriptions.flush()
    }
    // Taken, but not sent yet.
    take(feed, numbered(4, 4))
    assert.deepEqual(bob.seqs(), [])
    feed.subscriptions.release(pending)
    assert.deepEqual(bob.seqs(), [2, 3])
    take(feed, numbered(5, 5))
    feed.subscriptions.flush()
    assert.deepEqual(bob.seqs(), [2, 3, 4, 5])
    assert.deepEqual(ann.seqs(), [1, 2, 3, 4, 5])
    // Once more, as to resume: from the next on.
    pending = feed.subscriptions.subscribe(bob)
    pending.isAccepted = true
    take(feed, numbered(6, 6))
    feed.subscriptions.flush()
    feed.subscriptions.cover(pending)
    take(feed, numbered(7, 7))
    feed.subscriptions.flush()
    feed.subscriptions.release(pending)
    assert.deepEqual(bob.seqs(), [2, 3, 4, 5, 7])
  })

  it("closes a connection with too many withheld frames", () => {
    const { ann, feed } = feedWith()
    const bob = makeSubscriber("bob")
    feed.subscriptions.subscribe(bob)
    for (let n = 1; n <= 70; n++) {
      take(feed, { ...numbered(n, n), event: JSON.stringify({ text: "x".repeat(16_384) }) })
      feed.subscriptions.flush()
      if (n === 60) assert.deepEqual(bob.closed, [])
    }
    assert.deepEqual(bob.closed[0], CloseCodes.overload)
    assert.deepEqual(ann.closed, [])
    assert.deepEqual(ann.seqs(), upTo(70))
  })

  it("sends a removed member the removal, on all their connections, and nothing after it", () => {
    const { ann, feed, ended } = feedWith()
    const [bob, second, cat] = [makeSubscriber("bob"), makeSubscriber("bob"), makeSubscriber("cat")]
    const waiting = feed.subscriptions.subscribe(second)
    for (const one of [bob, cat]) subscribed(feed, one)
    take(feed, numbered(1, 1))
    take(feed, { ...numbered(2, 2), type: "member.left", subject: "bob" })
    take(feed, numbered(3, 3))
    feed.subscriptions.flush()
    assert.deepEqual(bob.seqs(), [1, 2])
    assert.deepEqual(second.seqs(), [])
    waiting.isAccepted = true
    feed.subscriptions.release(waiting)
    assert.deepEqual(second.seqs(), [1, 2])
    for (const one of [ann, cat]) assert.deepEqual(one.seqs(), [1, 2, 3])
    assert.deepEqual(ended, [
      [second.id, 1],
      [bob.id, 0]
    ])
    assert.isFalse(feed.subscriptions.counts.has("bob"))
  })

  it("does so without the bus too, and ends with its room", () => {
    const { ann, feed, ended } = feedWith()
    const bob = makeSubscriber("bob")
    subscribed(feed, bob)
    feed.deliverLocally({ ...event(), type: "member.left", subject: "bob", changeNumber: 1 })
    feed.deliverLocally({ ...event(), type: "room.deleted", changeNumber: 2 })
    feed.deliverLocally({ ...event(), changeNumber: 3 })
    feed.subscriptions.flush()
    assert.deepEqual(bob.seqs(), [1])
    assert.deepEqual(ann.seqs(), [1, 2])
    assert.deepEqual(ended, [
      [bob.id, 0],
      [ann.id, 0]
    ])
    assert.strictEqual(feed.subscriptions.size, 0)
  })

  it("delivered locally: counts on, and the bus's event of the same change is skipped", () => {
    const { ann, feed } = feedWith({ seq: 10, changeNumber: 4 })
    assert.isTrue(feed.isResumable)
    assert.isTrue(feed.deliverLocally({ ...event(), changeNumber: 5 }))
    assert.isFalse(feed.deliverLocally({ ...event(), changeNumber: 5 }))
    assert.isFalse(feed.deliverLocally({ ...event(), changeNumber: 4 }))
    assert.isTrue(feed.deliverLocally(event()))
    // A client can't resume from an event that no stream has.
    assert.isFalse(feed.isResumable)
    assert.strictEqual(feed.cursor, "none:12")
    take(feed, numbered(11, 5))
    take(feed, numbered(12, 6))
    feed.subscriptions.flush()
    assert.deepEqual(ann.seqs(), [11, 12, 13])
    assert.deepEqual([feed.seq, feed.clientSeq, feed.changeNumber, feed.offset], [12, 13, 6, 1])
    // Not before another epoch either, though the bus has brought it all.
    assert.strictEqual(feed.cursor, "none:13")
    const passed = feedWith({ seq: 3 })
    passed.feed.deliverLocally(event())
    assert.strictEqual(passed.feed.cursor, "none:4")
  })

  it("without the bus from the start: knows what the repository had, and joins the bus's epoch later", () => {
    const { ann, feed } = feedWith()
    const alone = new RoomFeed("room", () => {})
    alone.startLocally(7)
    subscribed(alone, ann)
    assert.isFalse(alone.deliverLocally({ ...event(), changeNumber: 7 }))
    assert.isTrue(alone.deliverLocally({ ...event(), changeNumber: 8 }))
    assert.isFalse(take(alone, numbered(1, 8), "e"))
    assert.strictEqual(alone.cursor, "none:1")
    const missed = history("e", [numbered(40, 0), numbered(41, 8), numbered(42, 9)], { isWhole: false })
    assert.isTrue(alone.catchUp(missed))
    alone.subscriptions.flush()
    // Ephemeral events from before its start are not for its clients.
    assert.deepEqual(ann.seqs(), [1, 2])
    assert.deepEqual([alone.epoch, alone.seq, alone.changeNumber, alone.cursor], ["e", 42, 9, "e~-40:2"])
    assert.strictEqual(feed.cursor, "e:0")
  })

  it("without the bus from the start: its subscribers begin anew if the bus has lost what it had then", () => {
    const at = (hours: number) => new Date(Date.now() + hours * 3_600_000).toISOString()
    const cases: ReadonlyArray<readonly [ReadonlyArray<SequencedEvent>, boolean]> = [
      [[], false],
      [[{ ...numbered(1, 0), at: at(1) }], false],
      [[{ ...numbered(1, 0), at: at(-1) }], true],
      [[{ ...numbered(2, 0), at: at(1) }], true]
    ]
    for (const [events, isSame] of cases) {
      const alone = new RoomFeed("room", () => {})
      alone.startLocally(0)
      assert.strictEqual(alone.catchUp(history("e", events)), isSame)
    }
  })

  it("catches up within its epoch: all that came after, or nothing", () => {
    const { ann, feed } = feedWith({ seq: 3, changeNumber: 3 })
    const events = [numbered(4, 4), numbered(5, 0), numbered(6, 5)]
    assert.isFalse(feed.catchUp(history("e", events, { isWhole: false })))
    assert.deepEqual([feed.seq, feed.subscriptions.flush()], [3, 0])
    assert.isTrue(feed.catchUp(history("e", events)))
    assert.isTrue(feed.catchUp({ ...history("e", []), seq: 6, changeNumber: 5 }))
    // Nothing was missed: whether it is whole does not matter.
    assert.isTrue(feed.catchUp({ ...history("e", [], { isWhole: false }), seq: 6, changeNumber: 5 }))
    feed.subscriptions.flush()
    assert.deepEqual(ann.seqs(), [4, 5, 6])
  })

  it("catches up with another epoch if what it saw last still stands there, and no change is missing after it", () => {
    const seen = numbered(5, 3)
    const began = (): ReturnType<typeof feedWith> => feedWith({ seq: 5, changeNumber: 3, epoch: "old", events: [seen] })
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
      const { ann, feed } = began()
      assert.strictEqual(feed.catchUp(missed), wanted !== undefined)
      feed.subscriptions.flush()
      assert.deepEqual(ann.changeNumbers(), [...(wanted ?? [])])
      assert.deepEqual(
        ann.seqs(),
        (wanted ?? []).map((_, n) => 6 + n)
      )
      const stands = wanted === undefined ? ["old", 5] : ["new", missed.seq]
      assert.deepEqual([feed.epoch, feed.seq], stands)
    }
  })

  it("takes no change whose predecessor it never had, though the numbers fit", () => {
    const { ann, feed } = feedWith({ seq: 5, changeNumber: 3 })
    assert.isFalse(take(feed, numbered(6, 5)))
    assert.isFalse(feed.catchUp(history("e", [numbered(6, 5)])))
    feed.subscriptions.flush()
    assert.deepEqual(ann.seqs(), [])
    // What was committed when its connections came in, they have; what was delivered locally as well.
    const later = feedWith({ changeNumber: 0, known: 4 })
    later.feed.deliverLocally({ ...event(), changeNumber: 5 })
    assert.isTrue(take(later.feed, numbered(1, 6)))
    assert.isFalse(take(later.feed, numbered(2, 8)))
  })

  it("catching up with another epoch needs nothing that was delivered locally, and then can be resumed from", () => {
    const seen = numbered(5, 3)
    const { ann, feed } = feedWith({ seq: 5, changeNumber: 3, epoch: "old", events: [seen] })
    for (const changeNumber of [4, 5]) feed.deliverLocally({ ...event(), changeNumber })
    feed.deliverLocally(event())
    assert.isFalse(feed.catchUp(history("new", [seen, numbered(6, 7)])))
    assert.isTrue(feed.catchUp(history("new", [seen, numbered(6, 4), numbered(7, 5), numbered(8, 6)])))
    feed.subscriptions.flush()
    assert.deepEqual(ann.seqs(), [6, 7, 8, 9])
    assert.deepEqual([feed.isResumable, feed.cursor], [true, "new~1:9"])
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
