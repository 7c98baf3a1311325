// What a resume may bring of the events that the bus kept: nothing from before the member's own joining, and nothing of what
// was deleted or edited since but its present form. Every event keeps its number and its type, so that what is brought still
// has no gap.
//
// Both are seen from the events themselves, which are all there from the cursor up to now: whoever joined or left after the
// cursor, and whatever was changed after it, stands among them. So a resume asks nobody else.
import { Option, Schema } from "effect"
import type { Numbered } from "../cluster/RoomBus.ts"
import { Message } from "../domain/Message.ts"

export interface Membership {
  readonly user: string
  readonly joinedAt: string
}

const decodeMessage = Schema.decodeUnknownOption(Schema.fromJsonString(Schema.Struct({ message: Message })))
const decodeGenerated = Schema.decodeUnknownOption(
  Schema.fromJsonString(Schema.Struct({ messageId: Schema.String, text: Schema.optionalKey(Schema.String) }))
)

/**
 * Whether one of them is from before the membership began. Its own beginning and end are told by events; the times are for the
 * moment in which a member is one already and their joining was not published yet. Being made more (an invite of a higher
 * role) is told as a joining too, but is later than `joinedAt`.
 */
const reachesBack = (events: ReadonlyArray<Numbered>, { joinedAt, user }: Membership): boolean =>
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
const changesOf = (events: ReadonlyArray<Numbered>): ReadonlyMap<string, Changed> | undefined => {
  const changes = new Map<string, Changed>()
  for (const { event, seq, type } of events) {
    if (type === "message.edited" || type === "message.deleted") {
      const decoded = Option.getOrUndefined(decodeMessage(event))
      if (decoded === undefined) return undefined
      changes.set(decoded.message.messageId, { seq, message: decoded.message })
    } else if (type === "generate.ended") {
      const decoded = Option.getOrUndefined(decodeGenerated(event))
      if (decoded === undefined) return undefined
      changes.set(decoded.messageId, { seq, message: undefined })
    }
  }
  return changes
}

const messageAsItIs = (event: Numbered, changes: ReadonlyMap<string, Changed>): Numbered | undefined => {
  const decoded = Option.getOrUndefined(decodeMessage(event.event))
  if (decoded === undefined) return undefined
  const { message } = decoded
  const change = changes.get(message.messageId)
  if (change?.message === undefined || change.seq <= event.seq) return event
  if (change.message.deletedAt === null && change.message.body === message.body) return event
  return { ...event, event: JSON.stringify({ type: event.type, message: change.message }) }
}

const deltaAsItIs = (event: Numbered, changes: ReadonlyMap<string, Changed>): Numbered | undefined => {
  const decoded = Option.getOrUndefined(decodeGenerated(event.event))
  if (decoded === undefined) return undefined
  const change = changes.get(decoded.messageId)
  if (change === undefined || change.seq <= event.seq) return event
  return { ...event, event: JSON.stringify({ type: event.type, messageId: decoded.messageId, text: "" }) }
}

/**
 * `events`, as the member may have them; `known`: all that is kept after the cursor, which may be more. Undefined: they may
 * not have them, or it can't be said.
 */
export const recoverable = (
  events: ReadonlyArray<Numbered>,
  known: ReadonlyArray<Numbered>,
  membership: Membership
): ReadonlyArray<Numbered> | undefined => {
  if (reachesBack(events, membership)) return undefined
  const changes = changesOf(known)
  if (changes === undefined) return undefined
  if (changes.size === 0) return events
  const shown: Array<Numbered> = []
  for (const event of events) {
    const isMessage = event.type.startsWith("message.")
    const isDelta = event.type === "generate.delta"
    const asItIs = isMessage ? messageAsItIs(event, changes) : isDelta ? deltaAsItIs(event, changes) : event
    if (asItIs === undefined) return undefined
    shown.push(asItIs)
  }
  return shown
}
