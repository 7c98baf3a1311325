// What a resume brings: the events of the room's stream between the client's cursor and the start of its new
// subscription; none from before the member joined, and of a message that was deleted or edited since only its present
// form. Every event keeps its number and type, so that the numbers have no gap. Both rules follow from the events
// alone, which are all there up to now: who joined or left, and what was changed, after the cursor has an event among
// them. A resume asks no other store.
import { Effect, Option, Schema } from "effect"
import type { BusUnavailable, RoomBus, SequencedEvent } from "../../cluster/rooms/RoomBus.ts"
import { Message } from "../../domain/Message.ts"
import { retention } from "../../infra/redis/RoomLog.ts"
import { messageIdOf } from "./EventFrame.ts"
import type { FeedSync, HubRoom, StoredPosition } from "./FeedSync.ts"
import { isRescue, parseCursor } from "./RoomFeed.ts"

/** How long a join or resume waits for the instance to catch up, and how often a resume checks. */
export const patience = "3 seconds"
const attempts = 5

export interface ResumingMember {
  readonly user: string
  readonly joinedAt: string
}

export interface MissedEvents {
  /** Numbered as the client counts. */
  readonly events: ReadonlyArray<SequencedEvent>
  readonly cursor: string
}

const decodeMessage = Schema.decodeUnknownOption(Schema.fromJsonString(Schema.Struct({ message: Message })))

/**
 * Whether one of the events is from before the membership began. Its beginning and end are events; the times cover the
 * moment in which the joining was not published yet. A higher role is published as a joining too, after `joinedAt`.
 */
const reachesBack = (events: ReadonlyArray<SequencedEvent>, { joinedAt, user }: ResumingMember): boolean =>
  events.some(
    ({ at, subject, type }) =>
      at < joinedAt || (subject === user && (type === "member.left" || (type === "member.joined" && at <= joinedAt)))
  )

/**
 * By id: the last change of the message, which makes its older events obsolete. `message` undefined: the text that was
 * generated under the id is void.
 */
type LastChanges = ReadonlyMap<string, { readonly seq: number; readonly message: Message | undefined }>

/** Undefined: an event can't be read. */
const lastChanges = (events: ReadonlyArray<SequencedEvent>): LastChanges | undefined => {
  const changes = new Map<string, { readonly seq: number; readonly message: Message | undefined }>()
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

/** An event without what a later event took back. Undefined: it can't be read. */
const withPresentForm = (event: SequencedEvent, changes: LastChanges): SequencedEvent | undefined => {
  const { type } = event
  if (!type.startsWith("message.") && type !== "generate.delta") return event
  const messageId = messageIdOf(event.event)
  if (messageId === undefined) return undefined
  const change = changes.get(messageId)
  if (change === undefined || change.seq <= event.seq) return event
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
  if (missed.some(isRescue) || reachesBack(missed, member)) return undefined
  const changes = lastChanges(stored)
  if (changes === undefined) return undefined
  if (changes.size === 0) return missed
  const shown = missed.map((event) => withPresentForm(event, changes)).filter((event) => event !== undefined)
  return shown.length === missed.length ? shown : undefined
}

/** `advance` moves the subscription's start to now, and returns the new cursor. */
export const makeReadMissedEvents = (bus: RoomBus["Service"], { tryCatchUp }: FeedSync) => {
  /** Does not wait longer than `patience`, while catching up goes on for the other connections. */
  const waitForFeed = (room: HubRoom) => Effect.timeoutOption(tryCatchUp(room), patience)

  // Untraced: it is part of the resume's span.
  return Effect.fnUntraced(
    function* (
      room: HubRoom,
      { epochCounter }: StoredPosition,
      advance: () => string,
      cursorText: string,
      member: ResumingMember
    ): Effect.fn.Return<MissedEvents | undefined, BusUnavailable> {
      const cursor = parseCursor(cursorText)
      if (cursor === undefined) return undefined
      const { feed } = room
      const after = cursor.clientSeq - cursor.offset
      for (let attempt = 0; attempt < attempts; attempt++) {
        const newCursor = advance()
        const { offset, seq } = feed
        if (!feed.isResumable || feed.epoch !== cursor.epoch || offset !== cursor.offset) return undefined
        if (after <= seq) {
          const history = yield* bus.history(feed.roomId, epochCounter, after, retention.events)
          const missed = history.events.filter((event) => event.seq <= seq)
          if (history.epoch !== cursor.epoch || missed.length !== seq - after) return undefined
          const shown = recoverable(missed, history.events, member)
          if (shown === undefined) return undefined
          return { events: shown.map((event) => ({ ...event, seq: event.seq + offset })), cursor: newCursor }
        }
        // The client has seen events that this instance has not received yet.
        yield* waitForFeed(room)
      }
      return undefined
    },
    Effect.catchTag("BusUnavailable", () => Effect.succeed(undefined))
  )
}
