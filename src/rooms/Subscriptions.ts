// Coming into a room with a connection: the state as it is, and from its cursor on every event. The seat is taken first and
// what comes for it is held back; then the state is read, which so has everything up to the cursor; the caller releases the
// seat when the answer has left.
import { Context, Effect, Layer } from "effect"
import { RoomBus, type SequencedEvent } from "../cluster/rooms/RoomBus.ts"
import { type Document, emptyDocument, firstDocument } from "../domain/Document.ts"
import type { RateLimited } from "../domain/Overload.ts"
import {
  everyone,
  type Forbidden,
  type InviteInvalid,
  type Participant,
  type Present,
  type StorageUnavailable,
  type TooManyRooms
} from "../domain/Room.ts"
import { RequestContext } from "../observability/RequestContext.ts"
import { EncodedJson } from "../protocol/JsonRpc.ts"
import { Repository, type RoomSnapshot, type WriteRefused } from "../storage/rooms/Repository.ts"
import { Access, type AccessError } from "./Access.ts"
import { eventParams } from "./delivery/EventFrame.ts"
import { Hub } from "./delivery/Hub.ts"
import type { PendingSubscription } from "./delivery/HubRoom.ts"
import type { Subscriber } from "./delivery/Subscription.ts"
import { UnpublishedRooms } from "./delivery/UnpublishedRooms.ts"
import { Invites } from "./Invites.ts"
import { firstOf } from "./JsonPage.ts"
import { type ListParams, laterThan, listed, toQuery } from "./Listing.ts"
import { PresenceTracker } from "./PresenceTracker.ts"
import { RoomReadCache } from "./RoomReadCache.ts"

export interface Guest extends Subscriber {
  /** Where the connection comes from, for limits. */
  readonly address: string
}

/** Messages that a state comes with. */
const newest = 50
/** Of the events of a resume: whoever missed more gets the state, which is smaller. */
const resumeBytes = 524_288

/** Whose beginning is not known came first. */
const keyOfPresent = ({ since, user }: Present) => [since === "" ? new Date(0).toISOString() : since, user] as const
const keyOfParticipant = ({ joinedAt, user }: Participant) => [joinedAt, user] as const

const bytesOf = (events: ReadonlyArray<SequencedEvent>) =>
  events.reduce((sum, { event }) => sum + Buffer.byteLength(event) + 150, 0)

type JoinError = AccessError | WriteRefused | Forbidden | InviteInvalid | RateLimited | TooManyRooms

export class Subscriptions extends Context.Service<
  Subscriptions,
  {
    /** `{room, participants, present, document, messages, cursor}` */
    readonly join: (guest: Guest, roomId: string, invite: string | undefined) => Effect.Effect<EncodedJson, JoinError>
    /** `{recovered: true, events, cursor}`, or `{recovered: false, events: [], …}` with all that a join answers. */
    readonly resume: (guest: Guest, roomId: string, cursor: string) => Effect.Effect<EncodedJson, JoinError>
    /** `{present, more, next}`, in the order they came. */
    readonly present: (
      user: string,
      roomId: string,
      params: ListParams
    ) => Effect.Effect<EncodedJson, AccessError | Forbidden>
    /** `{participants, more, next}`, in the order they joined. */
    readonly participants: (
      user: string,
      roomId: string,
      params: ListParams
    ) => Effect.Effect<EncodedJson, AccessError | Forbidden>
  }
>()("hotpath/rooms/Subscriptions") {
  static readonly layer = Layer.effect(
    Subscriptions,
    Effect.gen(function* () {
      const access = yield* Access
      const attendance = yield* PresenceTracker
      const bus = yield* RoomBus
      const hub = yield* Hub
      const invites = yield* Invites
      const reads = yield* RoomReadCache
      const repository = yield* Repository
      const untold = yield* UnpublishedRooms

      // A room that was deleted just now says so by its next answer.
      const document = (roomId: string): Effect.Effect<Document, StorageUnavailable> =>
        Effect.catchTag(repository.document(roomId), "RoomNotFound", () => Effect.succeed(emptyDocument(firstDocument)))

      const state = Effect.fnUntraced(function* ({ room }: RoomSnapshot, cursor: string) {
        const { roomId } = room
        // Asked for after the cursor was had: what is read under these versions has all that came before it.
        const versions = untold.has(roomId)
          ? undefined
          : yield* Effect.catch(bus.versions(roomId), () => Effect.succeed(undefined))
        yield* attendance.settled(roomId)
        const [open, participants, messages, present] = yield* Effect.all(
          [
            document(roomId),
            reads.participants(roomId, versions),
            reads.newest(roomId, undefined, newest, versions),
            attendance.list(roomId)
          ],
          { concurrency: 4 }
        )
        const here = firstOf(present, present.length)
        const cut = (participants.more ? '"moreParticipants":true,' : "") + (here.more ? '"morePresent":true,' : "")
        return (
          `"room":${JSON.stringify(room)},"participants":[${participants.text}],"present":[${here.text}],${cut}` +
          `"document":${JSON.stringify(open)},${messages},"cursor":${JSON.stringify(cursor)}`
        )
      })

      /** Takes a seat and answers with what `answer` makes of it; without an answer there is no seat. */
      const seated = <E>(
        guest: Guest,
        roomId: string,
        answer: (snapshot: RoomSnapshot, entrance: PendingSubscription) => Effect.Effect<string, E | StorageUnavailable>
      ) =>
        Effect.gen(function* () {
          const snapshot = yield* repository.room(roomId)
          const entrance = yield* hub.subscribe(roomId, guest, snapshot)
          const request = yield* RequestContext
          request?.whenAnswered(entrance.release)
          const answered = Effect.gen(function* () {
            const text = yield* answer(snapshot, entrance)
            // A membership that ended before the seat was taken had nobody to be told here.
            yield* access.require(roomId, guest.user, everyone)
            entrance.settle(true)
            return new EncodedJson(text)
          }).pipe(Effect.onError(() => Effect.sync(() => entrance.settle(false))))
          // Outside a request (a test, work of the service's own) nobody says when the answer has left: it has when it is given.
          return yield* request === undefined ? Effect.ensuring(answered, Effect.sync(entrance.release)) : answered
        })

      return Subscriptions.of({
        join: Effect.fn("Subscriptions.join")(function* (guest, roomId, invite) {
          const { user } = guest
          if (invite === undefined) yield* access.require(roomId, user, everyone)
          else {
            const held = yield* Effect.catchTag(access.session(roomId, user), "NotAMember", () =>
              Effect.succeed(undefined)
            )
            const accept = invites.accept(user, roomId, invite, guest.address, held?.session.role)
            if (held === undefined) {
              // Another connection of theirs may have come in with its last use meanwhile.
              yield* Effect.catchTag(accept, "InviteInvalid", (invalid) =>
                Effect.catchTag(access.session(roomId, user), "NotAMember", () => Effect.fail(invalid))
              )
            } else if (held.session.role !== "owner") {
              // For a member, one that is good for more is used; whatever else it is, they are in.
              yield* Effect.catchTags(accept, { InviteInvalid: () => Effect.void, RateLimited: () => Effect.void })
            }
          }
          return yield* seated(guest, roomId, (snapshot, { cursor }) =>
            Effect.map(state(snapshot, cursor), (text) => `{${text}}`)
          )
        }),
        resume: Effect.fn("Subscriptions.resume")(function* (guest, roomId, cursor) {
          const { session } = yield* access.require(roomId, guest.user, everyone)
          const membership = { user: guest.user, joinedAt: session.joinedAt }
          return yield* seated(guest, roomId, (snapshot, entrance) =>
            Effect.gen(function* () {
              const missed = yield* hub.missed(roomId, entrance, cursor, snapshot, membership)
              if (missed !== undefined && bytesOf(missed.events) <= resumeBytes) {
                const events = missed.events.map((event) => eventParams(roomId, event.seq, event)).join(",")
                return `{"recovered":true,"events":[${events}],"cursor":${JSON.stringify(missed.cursor)}}`
              }
              // Looking for what was missed may have moved the seat on.
              return `{"recovered":false,"events":[],${yield* state(snapshot, entrance.advance())}}`
            })
          )
        }),
        present: Effect.fn("Subscriptions.present")(function* (user, roomId, params) {
          yield* access.require(roomId, user, everyone)
          const found = laterThan(yield* attendance.list(roomId), keyOfPresent, params)
          return new EncodedJson(`{${listed("present", found, params, keyOfPresent)}}`)
        }),
        participants: Effect.fn("Subscriptions.participants")(function* (user, roomId, params) {
          yield* access.require(roomId, user, everyone)
          const found = yield* repository.participants(roomId, toQuery(params))
          return new EncodedJson(`{${listed("participants", found, params, keyOfParticipant)}}`)
        })
      })
    })
  )
}
