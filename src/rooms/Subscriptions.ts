// Subscribes connections to rooms: a reply with the room's state, and every event after the state's cursor. The
// connection is subscribed first, and its events are held back; then the state is read, which so contains everything
// up to the cursor; and the events are released when the reply has left.
import { Context, Effect, Layer, type Result } from "effect"
import { RoomBus, type SequencedEvent, type Versions } from "../cluster/rooms/RoomBus.ts"
import { type Document, emptyDocument, firstDocument } from "../domain/Document.ts"
import { type RateLimited, ReplyTooLarge } from "../domain/Overload.ts"
import type { InviteInvalid, Present, StorageUnavailable, TooManyRooms } from "../domain/Room.ts"
import { RequestContext } from "../observability/RequestContext.ts"
import { EncodedJson } from "../protocol/JsonRpc.ts"
import type { Result as MethodResult } from "../protocol/methods/Methods.ts"
import type { WriteRefused } from "../storage/rooms/Committed.ts"
import { DocumentStore } from "../storage/rooms/DocumentStore.ts"
import { partOf } from "../storage/rooms/ListPart.ts"
import { MemberStore } from "../storage/rooms/MemberStore.ts"
import { type RoomSnapshot, RoomStore } from "../storage/rooms/RoomStore.ts"
import { Access, type AccessError } from "./Access.ts"
import { eventParams } from "./delivery/EventFrame.ts"
import { Hub, type PendingSubscription } from "./delivery/Hub.ts"
import type { Subscriber } from "./delivery/Subscription.ts"
import { UnpublishedRooms } from "./delivery/UnpublishedRooms.ts"
import { Invites } from "./Invites.ts"
import { firstOf, type ListParams, listed, type Reply, toQuery } from "./Listing.ts"
import { PresenceTracker } from "./PresenceTracker.ts"
import { RoomReadCache } from "./RoomReadCache.ts"

export interface Guest extends Subscriber {
  /** The client's address, for rate limits. */
  readonly address: string
}

/** Messages in a state. */
const newest = 50
/** How often a state that lacks messages is read: until an instance that left the write buffer has saved them. */
const untilSaved = { times: 20, everyMs: 100 } as const
/** Rooms that are resumed at a time. */
const resumedAtOnce = 4
/** Events of a resume: a client that missed more gets the state, which is smaller. */
const resumeBytes = 524_288

/** A user whose arrival is unknown comes first. */
const keyOfPresent = ({ since, user }: Present) => [since === "" ? new Date(0).toISOString() : since, user] as const

const bytesOf = (events: ReadonlyArray<SequencedEvent>) =>
  events.reduce((sum, { event }) => sum + Buffer.byteLength(event) + 150, 0)

type ResumeError = AccessError | TooManyRooms
type JoinError = ResumeError | WriteRefused | InviteInvalid | RateLimited

export class Subscriptions extends Context.Service<
  Subscriptions,
  {
    readonly join: (
      guest: Guest,
      roomId: string,
      invite: string | undefined
    ) => Effect.Effect<Reply<"rooms.join">, JoinError>
    /** `{recovered: true, events, cursor}`, or `{recovered: false, events: [], …}` with all that a join answers. */
    readonly resume: (guest: Guest, roomId: string, cursor: string) => Effect.Effect<Reply<"rooms.resume">, ResumeError>
    /**
     * `resume` of each room, in their order. What does not fit into `maxBytes` beside the rooms before it fails with
     * ReplyTooLarge, and is not subscribed.
     */
    readonly resumeAll: (
      guest: Guest,
      places: ReadonlyArray<{ readonly roomId: string; readonly cursor: string }>,
      maxBytes: number
    ) => Effect.Effect<ReadonlyArray<Result.Result<Reply<"rooms.resume">, ResumeError | ReplyTooLarge>>>
    /** In the order of arrival. */
    readonly present: (
      user: string,
      roomId: string,
      params: ListParams
    ) => Effect.Effect<Reply<"presence.list">, AccessError>
    /** In the order they joined. */
    readonly participants: (
      user: string,
      roomId: string,
      params: ListParams
    ) => Effect.Effect<Reply<"rooms.participants">, AccessError>
  }
>()("hotpath/rooms/Subscriptions") {
  static readonly layer = Layer.effect(
    Subscriptions,
    Effect.gen(function* () {
      const access = yield* Access
      const presence = yield* PresenceTracker
      const bus = yield* RoomBus
      const hub = yield* Hub
      const invites = yield* Invites
      const reads = yield* RoomReadCache
      const documents = yield* DocumentStore
      const members = yield* MemberStore
      const rooms = yield* RoomStore
      const unpublished = yield* UnpublishedRooms

      // A room that was deleted just now fails at the next step.
      const document = (roomId: string): Effect.Effect<Document, StorageUnavailable> =>
        Effect.catchTag(documents.get(roomId), "RoomNotFound", () => Effect.succeed(emptyDocument(firstDocument)))

      /**
       * The newest messages. Around the write buffer, one that was just sent may be missing: the buffer published it,
       * was left, and another instance saves it now, before it is acknowledged.
       */
      const newestMessages = Effect.fnUntraced(function* (roomId: string, versions: Versions | undefined) {
        for (let tried = 1; ; tried++) {
          const page = yield* reads.newest(roomId, undefined, newest, versions)
          const isMissing = (messageId: string) => !page.text.includes(messageId)
          if (page.isDirect !== true || tried === untilSaved.times) return page
          if (!hub.latestMessages(roomId).some(isMissing)) return page
          yield* Effect.sleep(untilSaved.everyMs)
        }
      })

      const state = Effect.fnUntraced(function* ({ room }: RoomSnapshot, cursor: string) {
        const { roomId } = room
        // Read after the cursor: what is read under these versions contains everything before it.
        const versions = unpublished.has(roomId)
          ? undefined
          : yield* Effect.catch(bus.versions(roomId), () => Effect.succeed(undefined))
        yield* presence.settled(roomId)
        const [open, participants, messages, present] = yield* Effect.all(
          [
            document(roomId),
            reads.participants(roomId, versions),
            newestMessages(roomId, versions),
            presence.list(roomId)
          ],
          { concurrency: 4 }
        )
        const here = firstOf(present, present.length)
        const cut = (participants.more ? '"moreParticipants":true,' : "") + (here.more ? '"morePresent":true,' : "")
        return (
          `"room":${JSON.stringify(room)},"participants":[${participants.text}],"present":[${here.text}],${cut}` +
          `"document":${JSON.stringify(open)},"messages":[${messages.text}],"more":${messages.more},` +
          `"cursor":${JSON.stringify(cursor)}`
        )
      })

      /** Subscribes the connection and replies with what `answer` returns. If that fails, so does the subscription. */
      const subscribed = <A>(
        guest: Guest,
        roomId: string,
        answer: (snapshot: RoomSnapshot, entrance: PendingSubscription) => Effect.Effect<string, StorageUnavailable>
      ) =>
        Effect.gen(function* () {
          const snapshot = yield* rooms.get(roomId)
          const entrance = yield* hub.subscribe(roomId, guest, snapshot)
          const request = yield* RequestContext
          request?.whenAnswered(entrance.release)
          const answered = Effect.gen(function* () {
            const text = yield* answer(snapshot, entrance)
            // If the membership ended before the connection was subscribed, its end did not reach the connection.
            yield* access.member(roomId, guest.user)
            entrance.settle(true)
            return new EncodedJson<A>(text)
          }).pipe(Effect.onError(() => Effect.sync(() => entrance.settle(false))))
          // Outside a request (in a test) the reply counts as sent when it is returned.
          return yield* request === undefined ? Effect.ensuring(answered, Effect.sync(entrance.release)) : answered
        })

      const resume = Effect.fn("Subscriptions.resume")(function* (guest: Guest, roomId: string, cursor: string) {
        const { session } = yield* access.member(roomId, guest.user)
        const membership = { user: guest.user, joinedAt: session.joinedAt }
        return yield* subscribed<MethodResult<"rooms.resume">>(guest, roomId, (snapshot, entrance) =>
          Effect.gen(function* () {
            const missed = yield* entrance.missed(cursor, membership)
            if (missed !== undefined && bytesOf(missed.events) <= resumeBytes) {
              const events = missed.events.map((event) => eventParams(roomId, event.seq, event)).join(",")
              return `{"recovered":true,"events":[${events}],"cursor":${JSON.stringify(missed.cursor)}}`
            }
            // The search for missed events may have moved the cursor.
            return `{"recovered":false,"events":[],${yield* state(snapshot, entrance.advance())}}`
          })
        )
      })

      return Subscriptions.of({
        join: Effect.fn("Subscriptions.join")(function* (guest, roomId, invite) {
          const { user } = guest
          if (invite === undefined) yield* access.member(roomId, user)
          else {
            const noMember = () => Effect.succeed(undefined)
            const present = yield* Effect.catchTag(access.member(roomId, user), "NotAMember", noMember)
            const accept = invites.accept(user, roomId, invite, guest.address, present?.session.role)
            if (present === undefined) {
              // Another connection of the user may have used the invite up meanwhile.
              yield* Effect.catchTag(accept, "InviteInvalid", (invalid) =>
                Effect.catchTag(access.member(roomId, user), "NotAMember", () => Effect.fail(invalid))
              )
              // The user may have left on another connection just before. What the bus does not take goes around it.
              if (!unpublished.has(roomId)) yield* hub.caughtUp(roomId)
            } else if (present.session.role !== "owner") {
              // A member uses an invite only for a higher role, and is admitted even if it is not valid.
              yield* Effect.catchTags(accept, { InviteInvalid: () => Effect.void, RateLimited: () => Effect.void })
            }
          }
          return yield* subscribed<MethodResult<"rooms.join">>(guest, roomId, (snapshot, { cursor }) =>
            Effect.map(state(snapshot, cursor), (text) => `{${text}}`)
          )
        }),
        resume,
        resumeAll: Effect.fn("Subscriptions.resumeAll")(function* (guest, places, maxBytes) {
          let used = 0
          return yield* Effect.forEach(
            places,
            Effect.fnUntraced(function* ({ cursor, roomId }) {
              const fits = (bytes: number) =>
                used + bytes <= maxBytes
                  ? Effect.void
                  : Effect.fail(new ReplyTooLarge({ bytes: used + bytes, most: maxBytes, isOfBatch: true }))
              return yield* Effect.result(
                Effect.gen(function* () {
                  yield* fits(1)
                  const reply = yield* resume(guest, roomId, cursor)
                  const bytes = Buffer.byteLength(reply.text)
                  yield* Effect.tapError(fits(bytes), () => Effect.sync(() => hub.leave(roomId, guest.id)))
                  used += bytes
                  return reply
                })
              )
            }),
            { concurrency: resumedAtOnce }
          )
        }),
        present: Effect.fn("Subscriptions.present")(function* (user, roomId, params) {
          yield* access.member(roomId, user)
          const all = yield* presence.list(roomId)
          const found = partOf(all, keyOfPresent, toQuery(params), all.length)
          return listed("presence.list", found, params, keyOfPresent)
        }),
        participants: Effect.fn("Subscriptions.participants")(function* (user, roomId, params) {
          yield* access.member(roomId, user)
          const found = yield* members.list(roomId, toQuery(params))
          return listed("rooms.participants", found, params, ({ joinedAt, user }) => [joinedAt, user])
        })
      })
    })
  )
}
