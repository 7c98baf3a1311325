// What a resume may bring of the events in a room's stream: nothing from before the member joined, and of a message
// that was deleted or edited since only its present form. Every event keeps its number and type, so that the numbers
// have no gap.
//
// Both follow from the events alone, which are all there from the cursor up to now: a member who joined or left after
// the cursor, and a message that was changed after it, has an event among them. A resume asks no other store.
import { Option, Schema } from "effect"
import type { SequencedEvent } from "../../cluster/rooms/RoomBus.ts"
import { Message } from "../../domain/Message.ts"
import { messageIdOf } from "./EventMessageId.ts"

export interface ResumingMember {
  readonly user: string
  readonly joinedAt: string
}

const decodeMessage = Schema.decodeUnknownOption(Schema.fromJsonString(Schema.Struct({ message: Message })))

/**
 * Whether one of the events is from before the membership began. Its beginning and end are events themselves; the
 * times cover the moment in which the user is a member already and the joining was not published yet. A member who
 * gets a higher role is published as a joining too, but later than `joinedAt`.
 */
const reachesBack = (events: ReadonlyArray<SequencedEvent>, { joinedAt, user }: ResumingMember): boolean =>
  events.some(
    ({ at, subject, type }) =>
      at < joinedAt || (subject === user && (type === "member.left" || (type === "member.joined" && at <= joinedAt)))
  )

interface LastChange {
  readonly seq: number
  /** The message after its last edit or deletion; undefined: the text that was generated under its id is void. */
  readonly message: Message | undefined
}

/** By message: the last change that makes its older events obsolete. Undefined: an event can't be read. */
const lastChanges = (events: ReadonlyArray<SequencedEvent>): ReadonlyMap<string, LastChange> | undefined => {
  const changes = new Map<string, LastChange>()
  for (const { event, seq, type } of events.toReversed()) {
    if (type !== "message.edited" && type !== "message.deleted" && type !== "generate.ended") continue
    const id = messageIdOf(event)
    if (id === undefined) return undefined
    if (changes.has(id)) continue
    const message = type === "generate.ended" ? undefined : Option.getOrUndefined(decodeMessage(event))?.message
    if (type !== "generate.ended" && message === undefined) return undefined
    changes.set(id, { seq, message })
  }
  return changes
}

/** An event of a message or of a generation, without what a later event took back. Undefined: it can't be read. */
const withPresentForm = (
  event: SequencedEvent,
  changes: ReadonlyMap<string, LastChange>
): SequencedEvent | undefined => {
  const messageId = messageIdOf(event.event)
  if (messageId === undefined) return undefined
  const change = changes.get(messageId)
  if (change === undefined || change.seq <= event.seq) return event
  const { type } = event
  if (type === "generate.delta") return { ...event, event: JSON.stringify({ type, messageId, text: "" }) }
  return change.message === undefined ? event : { ...event, event: JSON.stringify({ type, message: change.message }) }
}

/**
 * The missed events as the member may have them; undefined: the member may not have them, or one can't be read.
 * `stored`: all events of the stream after the cursor, which may be more than those that were missed.
 */
export const recoverable = (
  missed: ReadonlyArray<SequencedEvent>,
  stored: ReadonlyArray<SequencedEvent>,
  member: ResumingMember
): ReadonlyArray<SequencedEvent> | undefined => {
  if (reachesBack(missed, member)) return undefined
  const changes = lastChanges(stored)
  if (changes === undefined) return undefined
  if (changes.size === 0) return missed
  const shown: Array<SequencedEvent> = []
  for (const event of missed) {
    const isOfMessage = event.type.startsWith("message.") || event.type === "generate.delta"
    const present = isOfMessage ? withPresentForm(event, changes) : event
    if (present === undefined) return undefined
    shown.push(present)
  }
  return shown
}
