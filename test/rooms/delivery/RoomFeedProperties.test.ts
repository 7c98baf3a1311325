// Whatever mixture of the bus's events, of local events, of gaps and epochs: what a connection is sent is numbered on
// by one, brings each change once, and leaves none out unless the feed says so.
import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import type { History, SequencedEvent } from "../../../src/cluster/rooms/RoomBus.ts"
import { RoomFeed } from "../../../src/rooms/delivery/RoomFeed.ts"
import { event, makeSubscriber, numbered, subscribed } from "../../support/RoomFeeds.ts"
import { rounds } from "../../support/Soak.ts"

const Step = Schema.Literals([
  "change",
  "change",
  "change",
  "change missed",
  "passing",
  "passing missed",
  "change alone",
  "change alone",
  "passing alone",
  "again",
  "look",
  "trimmed",
  "new epoch",
  "forgotten"
])
type Step = typeof Step.Type

/** A room as the repository and the bus have it, and a feed that takes its events. */
class World {
  epoch = "epoch-0"
  seq = 0
  published = 0
  kept: ReadonlyArray<SequencedEvent> = []
  /** Committed; those after `unsent` not brought to the bus yet. */
  committed = 0
  unpublished: Array<number> = []
  #epochs = 0
  /** Changes that the feed's connections have in the state they began with. */
  known = 0
  feed = new RoomFeed("room", () => {})
  ann = makeSubscriber("ann")

  constructor() {
    this.begin()
  }

  /** A connection that joins now: it has all committed changes, and takes the events of those still to be published. */
  begin() {
    this.feed = new RoomFeed("room", () => {})
    this.ann = makeSubscriber("ann")
    this.known = this.committed
    this.feed.start(
      { epoch: this.epoch, seq: this.seq, changeNumber: this.published, events: this.kept.slice(-1) },
      this.known
    )
    subscribed(this.feed, this.ann)
    this.first = this.seq
  }
  first = 0

  after(seq: number): History {
    const events = this.kept.filter((one) => one.seq > seq)
    const isWhole = seq <= this.seq && events.length === this.seq - seq
    return { epoch: this.epoch, seq: this.seq, changeNumber: this.published, events, isWhole }
  }

  catchUp() {
    const after = this.after(this.feed.seq)
    const history = after.epoch === this.feed.epoch ? after : this.after(Math.max(0, this.feed.seq - 1))
    const isDone = this.feed.catchUp(history)
    this.feed.subscriptions.flush()
    this.check()
    if (!isDone) this.begin()
    return isDone
  }

  append(changeNumber: number, isReceived: boolean) {
    const one = numbered(++this.seq, changeNumber)
    this.kept = [...this.kept, one]
    if (changeNumber > 0) this.published = changeNumber
    if (isReceived && !this.feed.take({ ...one, epoch: this.epoch })) this.catchUp()
  }

  publish(isReceived: boolean) {
    for (const changeNumber of this.unpublished) this.append(changeNumber, isReceived)
    this.unpublished = []
  }

  do(step: Step) {
    const isReceived = !step.endsWith("missed")
    switch (step) {
      case "change":
      case "change missed":
        this.unpublished.push(++this.committed)
        return this.publish(isReceived)
      case "passing":
      case "passing missed":
        return this.append(0, isReceived)
      case "change alone": {
        const changeNumber = ++this.committed
        this.unpublished.push(changeNumber)
        this.feed.deliverLocally({ ...event(changeNumber), changeNumber })
        return
      }
      case "passing alone":
        this.feed.deliverLocally(event())
        return
      case "again": {
        const known = this.kept.find((one) => one.seq === this.feed.seq)
        if (known !== undefined) assert.isTrue(this.feed.take({ ...known, epoch: this.feed.epoch }))
        return
      }
      case "look":
        this.publish(false)
        this.catchUp()
        return
      case "trimmed":
        this.kept = this.kept.slice(-1)
        return
      case "new epoch":
        this.epoch = `epoch-${++this.#epochs}`
        return
      case "forgotten":
        this.epoch = `epoch-${++this.#epochs}`
        this.seq = 0
        this.published = 0
        this.kept = []
        return
    }
  }

  /** What the feed says of itself is so. */
  check() {
    this.feed.subscriptions.flush()
    const seqs = this.ann.seqs()
    assert.deepEqual(
      seqs,
      seqs.map((_, n) => this.first + n + 1)
    )
    assert.strictEqual(this.feed.clientSeq, this.first + seqs.length)
    const sent = this.ann.changeNumbers().filter((changeNumber) => changeNumber > 0)
    assert.lengthOf(new Set(sent), sent.length)
    for (let changeNumber = this.known + 1; changeNumber <= this.feed.changeNumber; changeNumber++)
      assert.include(sent, changeNumber)
  }
}

describe("RoomFeed", () => {
  it.prop(
    "delivers each change once and in order, or says that it can't",
    [Schema.Array(Step).check(Schema.isMaxLength(30))],
    ([steps]) => {
      const world = new World()
      for (const step of steps) {
        world.do(step)
        world.check()
      }
      // The next event shows what was missed.
      world.do("change")
      world.do("look")
      world.check()
      assert.isAtLeast(Math.max(world.feed.changeNumber, world.known), world.committed)
    },
    { arbitrary: { runs: rounds(1000, 50_000) } }
  )
})
