// What a resume brings of what was kept, by the events alone.
import { assert, describe, it } from "@effect/vitest"
import type { SequencedEvent } from "../../../src/cluster/rooms/RoomBus.ts"
import { asSent, type Message } from "../../../src/domain/Message.ts"
import type { RoomEvent } from "../../../src/domain/RoomEvent.ts"
import { recoverable } from "../../../src/rooms/delivery/Recovery.ts"

const at = (second: number) => new Date(1_750_000_000_000 + second * 1000).toISOString()
const ann = { user: "ann", joinedAt: at(10) }

/** Numbered as they stand; each a second after the one before, the first at second 20. */
const numbered = (...events: ReadonlyArray<RoomEvent | (RoomEvent & { readonly second: number })>) =>
  events.map((event, n): SequencedEvent => {
    const { second, ...rest } = { second: 20 + n, ...event }
    const subject = "user" in event ? event.user : ""
    return { seq: n + 1, changeNumber: 0, at: at(second), type: event.type, subject, event: JSON.stringify(rest) }
  })
const shown = (events: ReadonlyArray<SequencedEvent>, known = events) =>
  recoverable(events, known, ann)?.map(({ event }) => JSON.parse(event) as RoomEvent)

const sent = (messageId: string, body: string): Message =>
  asSent({ messageId, roomId: "r", threadId: null, author: "bob", kind: "chat", body, at: at(20) })
const deleted = (message: Message): Message => ({ ...message, body: "", deletedAt: at(30), reactions: {} })
const edited = (message: Message, body: string): Message => ({ ...message, body, editedAt: at(30) })

describe("a resume", () => {
  it("brings what came since the member joined, unchanged", () => {
    const events = numbered(
      { type: "message.sent", message: sent("m", "hello") },
      { type: "member.joined", user: "bob" },
      { type: "member.left", user: "bob" },
      { type: "generate.delta", messageId: "g", text: "part" }
    )
    assert.deepEqual(recoverable(events, events, ann), events)
  })

  it("brings nothing when the cursor is from before they joined, were removed, or came again", () => {
    for (const before of [
      { type: "member.joined", user: "ann", second: 10 },
      { type: "member.left", user: "ann", second: 11 },
      // Their joining was not published yet: the times say so.
      { type: "message.sent", message: sent("m", "old"), second: 9 }
    ] as const) {
      assert.isUndefined(shown(numbered(before, { type: "presence.joined", user: "ann" })))
    }
    // Being made more is no beginning.
    const raised = numbered({ type: "member.joined", user: "ann", second: 11 })
    assert.deepEqual(recoverable(raised, raised, ann), raised)
  })

  it("says of a deleted or edited message only what it is now", () => {
    const [gone, changed, kept] = [sent("gone", "secret"), sent("changed", "secret"), sent("kept", "open")]
    const events = numbered(
      { type: "message.sent", message: gone },
      { type: "message.sent", message: changed },
      { type: "message.sent", message: kept },
      { type: "message.reacted", message: { ...gone, reactions: { x: ["bob"] } } },
      { type: "message.edited", message: edited(gone, "secret too") },
      { type: "message.edited", message: edited(changed, "now") },
      { type: "message.deleted", message: deleted(gone) },
      { type: "message.reacted", message: { ...edited(changed, "now"), reactions: { x: ["bob"] } } }
    )
    const found = shown(events) ?? []
    assert.deepEqual(
      found.map(({ type }) => type),
      events.map(({ type }) => type)
    )
    assert.notInclude(JSON.stringify(found), "secret")
    assert.deepEqual(found.at(0), { type: "message.sent", message: deleted(gone) })
    assert.deepEqual(found.at(1), { type: "message.sent", message: edited(changed, "now") })
    assert.deepEqual(found.at(2), { type: "message.sent", message: kept })
    assert.deepEqual(
      found.slice(5).map((event) => JSON.stringify(event)),
      events.slice(5).map(({ event }) => event)
    )
    assert.deepEqual(
      recoverable(events, events, ann)?.map(({ at, seq }) => [seq, at]),
      events.map(({ at, seq }) => [seq, at])
    )
    // A deletion that this instance has not received yet counts already.
    const early = shown(events.slice(0, 3), events)
    assert.deepEqual(early?.at(0), { type: "message.sent", message: deleted(gone) })
  })

  it("hides the text of a void generation, and brings that of its restart", () => {
    const delta = (messageId: string, text: string) => ({ type: "generate.delta", messageId, text }) as const
    const found = shown(
      numbered(
        delta("void", "secret"),
        delta("other", "fine"),
        { type: "generate.ended", messageId: "void", promptId: "p", reason: "Restarted" },
        delta("void", "again")
      )
    )
    assert.deepEqual(
      found?.flatMap((event) => (event.type === "generate.delta" ? [event.text] : [])),
      ["", "fine", "again"]
    )
  })

  it("brings nothing when it can't tell what an event is about", () => {
    const [first, ...others] = numbered(
      { type: "message.sent", message: sent("m", "secret") },
      { type: "message.deleted", message: deleted(sent("m", "")) }
    )
    if (first === undefined) return assert.fail("no event")
    assert.isUndefined(shown([{ ...first, event: '{"type":"message.sent"}' }, ...others]))
    assert.isDefined(shown([{ ...first, event: '{"type":"message.sent"}' }]))
  })
})
