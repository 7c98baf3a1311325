// Whatever mixture of the bus's events, of what it can't bring, of gaps and epochs: what a connection is told is numbered on
// by one, brings each change once, and leaves none out unless the line says so.
import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import type { History, SequencedEvent } from "../../../src/cluster/rooms/RoomBus.ts"
import { RoomFeed } from "../../../src/rooms/delivery/RoomFeed.ts"
import { event, makeSubscriber, numbered, seated } from "../../support/RoomFeeds.ts"

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

/** A room as the repository and the bus have it, and a line that hears of it. */
class World {
  epoch = "epoch-0"
  seq = 0
  published = 0
  kept: ReadonlyArray<SequencedEvent> = []
  /** Committed; those after `unsent` not brought to the bus yet. */
  committed = 0
  untold: Array<number> = []
  #epochs = 0
  /** Revisions that the line's connections have in the state they began with. */
  known = 0
  line = new RoomFeed("room", () => {})
  ann = makeSubscriber("ann")

  constructor() {
    this.begin()
  }

  /** A connection that comes in now: it has all that is committed, and takes the events of what is still to be told. */
  begin() {
    this.line = new RoomFeed("room", () => {})
    this.ann = makeSubscriber("ann")
    this.known = this.committed
    this.line.start(
      { epoch: this.epoch, seq: this.seq, changeNumber: this.published, events: this.kept.slice(-1) },
      this.known
    )
    seated(this.line, this.ann)
    this.first = this.seq
  }
  first = 0

  after(seq: number): History {
    const events = this.kept.filter((one) => one.seq > seq)
    const isWhole = seq <= this.seq && events.length === this.seq - seq
    return { epoch: this.epoch, seq: this.seq, changeNumber: this.published, events, isWhole }
  }

  catchUp() {
    const after = this.after(this.line.seq)
    const history = after.epoch === this.line.epoch ? after : this.after(Math.max(0, this.line.seq - 1))
    const isDone = this.line.catchUp(history)
    this.line.flush()
    this.check()
    if (!isDone) this.begin()
    return isDone
  }

  append(changeNumber: number, isHeard: boolean) {
    const one = numbered(++this.seq, changeNumber)
    this.kept = [...this.kept, one]
    if (changeNumber > 0) this.published = changeNumber
    if (isHeard && !this.line.take({ ...one, epoch: this.epoch })) this.catchUp()
  }

  publish(isHeard: boolean) {
    for (const changeNumber of this.untold) this.append(changeNumber, isHeard)
    this.untold = []
  }

  do(step: Step) {
    const isHeard = !step.endsWith("missed")
    switch (step) {
      case "change":
      case "change missed":
        this.untold.push(++this.committed)
        return this.publish(isHeard)
      case "passing":
      case "passing missed":
        return this.append(0, isHeard)
      case "change alone": {
        const changeNumber = ++this.committed
        this.untold.push(changeNumber)
        this.line.tellAlone({ ...event(changeNumber), changeNumber })
        return
      }
      case "passing alone":
        this.line.tellAlone(event())
        return
      case "again": {
        const known = this.kept.find((one) => one.seq === this.line.seq)
        if (known !== undefined) assert.isTrue(this.line.take({ ...known, epoch: this.line.epoch }))
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

  /** What the line says of itself is so. */
  check() {
    this.line.flush()
    const seqs = this.ann.seqs()
    assert.deepEqual(
      seqs,
      seqs.map((_, n) => this.first + n + 1)
    )
    assert.strictEqual(this.line.visible, this.first + seqs.length)
    const told = this.ann.revisions().filter((changeNumber) => changeNumber > 0)
    assert.lengthOf(new Set(told), told.length)
    for (let changeNumber = this.known + 1; changeNumber <= this.line.changeNumber; changeNumber++)
      assert.include(told, changeNumber)
  }
}

describe("RoomLine", () => {
  it.prop(
    "tells each change once and on, or says that it can't",
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
      assert.isAtLeast(Math.max(world.line.changeNumber, world.known), world.committed)
    },
    { arbitrary: { runs: 3000 } }
  )
})
