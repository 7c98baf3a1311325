// What a resume may bring of the events that the bus kept: nothing from before the member's own joining, and nothing of what
// was deleted or edited since but its present form. Every event keeps its number and its type, so that what is brought still
// has no gap.
//
// Both are seen from the events themselves, which are all there from the cursor up to now: whoever joined or left after the
// cursor, and whatever was changed after it, stands among them. So a resume asks nobody else.
import { Option, Schema } from "effect"
import type { SequencedEvent } from "../../cluster/rooms/RoomBus.ts"
import { Message } from "../../domain/Message.ts"

export interface Membership {
  readonly user: string
  readonly joinedAt: string
}

const decodeMessage = Schema.decodeUnknownOption(Schema.fromJsonString(Schema.Struct({ message: Message })))
const decodeId = Schema.decodeUnknownOption(
  Schema.fromJsonString(
    Schema.Union([
      Schema.Struct({ message: Schema.Struct({ messageId: Schema.String }) }),
      Schema.Struct({ messageId: Schema.String })
    ])
  )
)
/** As events are written here; in any other order of its fields an event has to be parsed. */
const idIn = /^\{"type":"[a-z.]+",(?:"message":\{)?"messageId":"([0-9a-f-]{36})"/

/** Which message an event of a message, or of a generation, is about; undefined: it can't be read. */
const idOf = (event: string): string | undefined => {
  const written = idIn.exec(event)?.[1]
  if (written !== undefined) return written
  const decoded = Option.getOrUndefined(decodeId(event))
  return decoded === undefined || "messageId" in decoded ? decoded?.messageId : decoded.message.messageId
}

/**
 * Whether one of them is from before the membership began. Its own beginning and end are told by events; the times are for the
 * moment in which a member is one already and their joining was not published yet. Being made more (an invite of a higher
 * role) is told as a joining too, but is later than `joinedAt`.
 */
const reachesBack = (events: ReadonlyArray<SequencedEvent>, { joinedAt, user }: Membership): boolean =>
  events.some(
    ({ at, subject, type }) =>
      at < joinedAt || (subject === user && (type === "member.left" || (type === "member.joined" && at <= joinedAt)))
  )

interface Changed {
  readonly seq: number
  /** As the last edit or deletion left it; undefined: what was generated under that id is void. */
  readonly message: Message | undefined
}

/** The last change by which the older events of a message say too much; undefined: an event can't be read. */
const changesOf = (events: ReadonlyArray<SequencedEvent>): ReadonlyMap<string, Changed> | undefined => {
  const changes = new Map<string, Changed>()
  for (const { event, seq, type } of events.toReversed()) {
    if (type !== "message.edited" && type !== "message.deleted" && type !== "generate.ended") continue
    const id = idOf(event)
    if (id === undefined) return undefined
    if (changes.has(id)) continue
    const message = type === "generate.ended" ? undefined : Option.getOrUndefined(decodeMessage(event))?.message
    if (type !== "generate.ended" && message === undefined) return undefined
    changes.set(id, { seq, message })
  }
  return changes
}

/** An event of a message, or a part of a generation, with nothing in it that a later one took back. */
const asItIs = (event: SequencedEvent, changes: ReadonlyMap<string, Changed>): SequencedEvent | undefined => {
  const messageId = idOf(event.event)
  if (messageId === undefined) return undefined
  const change = changes.get(messageId)
  if (change === undefined || change.seq <= event.seq) return event
  const { type } = event
  if (type === "generate.delta") return { ...event, event: JSON.stringify({ type, messageId, text: "" }) }
  return change.message === undefined ? event : { ...event, event: JSON.stringify({ type, message: change.message }) }
}

/**
 * `events`, as the member may have them; `known`: all that is kept after the cursor, which may be more. Undefined: they may
 * not have them, or it can't be said.
 */
export const recoverable = (
  events: ReadonlyArray<SequencedEvent>,
  known: ReadonlyArray<SequencedEvent>,
  membership: Membership
): ReadonlyArray<SequencedEvent> | undefined => {
  if (reachesBack(events, membership)) return undefined
  const changes = changesOf(known)
  if (changes === undefined) return undefined
  if (changes.size === 0) return events
  const shown: Array<SequencedEvent> = []
  for (const event of events) {
    const isOfMessage = event.type.startsWith("message.") || event.type === "generate.delta"
    const one = isOfMessage ? asItIs(event, changes) : event
    if (one === undefined) return undefined
    shown.push(one)
  }
  return shown
}
