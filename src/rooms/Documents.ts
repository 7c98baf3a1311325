// The open document of a room: read, updated, and switched for another.
import { Context, Effect, Layer } from "effect"
import { actorNow } from "../domain/Actor.ts"
import type { Document, VersionConflict } from "../domain/Document.ts"
import type { BufferFull } from "../domain/Room.ts"
import { spanIfSampled } from "../observability/Tracing.ts"
import type { Params } from "../protocol/methods/Methods.ts"
import type { WriteRefused } from "../storage/rooms/Committed.ts"
import { DocumentStore } from "../storage/rooms/DocumentStore.ts"
import { Access, type AccessError } from "./Access.ts"
import { Hub } from "./delivery/Hub.ts"
import { OutboxRelay } from "./delivery/OutboxRelay.ts"
import type { Subscriber } from "./delivery/Subscription.ts"
import * as RoomsMemory from "./RoomsMemory.ts"

/** `id`: the connection, which gets the event of its own edit without the text. */
type Editor = Pick<Subscriber, "user" | "id">

export class Documents extends Context.Service<
  Documents,
  {
    readonly get: (user: string, roomId: string) => Effect.Effect<Document, AccessError>
    readonly update: (
      editor: Editor,
      roomId: string,
      edit: Omit<Params<"document.update">, "roomId">
    ) => Effect.Effect<Document, WriteRefused | BufferFull | VersionConflict>
    readonly switch: (editor: Editor, roomId: string, name: string) => Effect.Effect<Document, WriteRefused>
  }
>()("hotpath/rooms/Documents") {
  static readonly layer = Layer.effect(
    Documents,
    Effect.gen(function* () {
      const access = yield* Access
      const documents = (yield* OutboxRelay).publishing(yield* DocumentStore, DocumentStore.writes)
      const hub = yield* Hub
      return Documents.of({
        get: (user, roomId) => Effect.andThen(access.member(roomId, user), documents.get(roomId)),
        // Untraced, with a span only if sampled: the stack that Effect.fn captures cost an edit 6 µs.
        update: Effect.fnUntraced(function* ({ id, user }, roomId, edit) {
          const actor = { ...(yield* actorNow(user)), connectionId: id }
          // An edit asks Redis once, not twice: the membership is compared in the step that writes.
          const write = access.presuming(roomId, user, "member", (membershipSeen) =>
            documents.update(roomId, { ...edit, membershipSeen }, actor)
          )
          return yield* hub.replyFirst(roomId, write)
        }, spanIfSampled("Documents.update")),
        switch: Effect.fn("Documents.switch")(function* ({ user }, roomId, name) {
          yield* access.require(roomId, user, "member")
          return yield* hub.replyFirst(roomId, documents.switch(roomId, name, yield* actorNow(user)))
        })
      })
    })
  )

  /** The real service over stores in memory; rooms, invites and threads come with it. */
  static readonly layerTest = Layer.provideMerge(Documents.layer, RoomsMemory.layer)
}
