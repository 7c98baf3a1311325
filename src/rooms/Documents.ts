// The document that a room has open: read, replaced, and changed for another.
import { Context, Effect, Layer } from "effect"
import { actorNow } from "../domain/Actor.ts"
import type { Document, VersionConflict } from "../domain/Document.ts"
import { everyone, type Forbidden, StorageUnavailable, writers } from "../domain/Room.ts"
import { spanIfSampled } from "../observability/Tracing.ts"
import { Repository, type WriteRefused } from "../storage/rooms/Repository.ts"
import { Access, type AccessError, type Granted } from "./Access.ts"
import { Hub } from "./delivery/Hub.ts"
import { OutboxRelay } from "./delivery/OutboxRelay.ts"

interface Editor {
  readonly user: string
  /** The connection: its own event comes without the text. */
  readonly id: string
}

export interface Edit {
  readonly baseVersion: number
  readonly text: string
  /** Of which document, if they say so. */
  readonly name?: string | undefined
}

export class Documents extends Context.Service<
  Documents,
  {
    readonly get: (user: string, roomId: string) => Effect.Effect<Document, AccessError | Forbidden>
    readonly update: (
      editor: Editor,
      roomId: string,
      edit: Edit
    ) => Effect.Effect<Document, WriteRefused | VersionConflict>
    readonly switch: (editor: Editor, roomId: string, name: string) => Effect.Effect<Document, WriteRefused>
  }
>()("hotpath/rooms/Documents") {
  static readonly layer = Layer.effect(
    Documents,
    Effect.gen(function* () {
      const repository = yield* Repository
      const access = yield* Access
      const { announced } = yield* OutboxRelay
      const hub = yield* Hub
      return Documents.of({
        get: (user, roomId) => Effect.andThen(access.require(roomId, user, everyone), repository.document(roomId)),
        // Untraced: the stack that is kept for a span cost an edit 6 µs.
        update: Effect.fnUntraced(function* ({ id, user }, roomId, edit) {
          const author = { ...(yield* actorNow(user)), connectionId: id }
          const attempt = (granted: Granted) =>
            announced(repository.updateDocument(roomId, edit, { ...author, seen: granted.versions }))
          // An edit asks Redis once, not twice: what was seen of the membership goes along, and is compared there.
          const write = Effect.flatMap(access.presume(roomId, user, writers), attempt)
          return yield* hub.replyFirst(roomId, write).pipe(
            Effect.catchTag("MembershipUnsure", () =>
              Effect.flatMap(access.require(roomId, user, writers), ({ session }) =>
                attempt({ session, versions: undefined })
              )
            ),
            Effect.catchTag("MembershipUnsure", () => Effect.fail(new StorageUnavailable({ reason: "never sure" })))
          )
        }, spanIfSampled("Documents.update")),
        switch: Effect.fn("Documents.switch")(function* ({ user }, roomId, name) {
          yield* access.require(roomId, user, writers)
          return yield* hub.replyFirst(
            roomId,
            announced(repository.switchDocument(roomId, name, yield* actorNow(user)))
          )
        })
      })
    })
  )
}
