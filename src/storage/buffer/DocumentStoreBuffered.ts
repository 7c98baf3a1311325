// Documents behind a write buffer: a layer over DocumentStore that gives the same service. Updates are acknowledged
// when the buffer has them, and reach the store behind in batches (Flusher.ts). Reads ask the buffer first, then the
// store, so that a version that is flushed in between is found in one of them.
//
// While the buffer can't be used (WriteMode.ts), operations go to the store behind directly: an update only when no
// instance uses the buffer any more (WriteRouting.ts).
import { Effect, Layer } from "effect"
import type { Actor } from "../../domain/Actor.ts"
import { conflictWith, type Document, updatedEvent } from "../../domain/Document.ts"
import { MembershipUnsure } from "../../domain/Room.ts"
import { makeBoundedMap } from "../../infra/BoundedMap.ts"
import type { Committed } from "../rooms/Committed.ts"
import { DocumentStore } from "../rooms/DocumentStore.ts"
import type { DocumentUpdate } from "../rooms/RoomRules.ts"
import { Flusher } from "./Flusher.ts"
import { UnflushedWrites } from "./UnflushedWrites.ts"
import { BufferUnavailable, WriteBuffer } from "./WriteBuffer.ts"
import { type Lease, WriteMode } from "./WriteMode.ts"
import { uncertain, WriteRouting } from "./WriteRouting.ts"

/** How often an update asks the buffer again when another document is open, or the buffer does not know it yet. */
const attempts = 6
const maxRooms = 20_000

export const layer = Layer.effect(
  DocumentStore,
  Effect.gen(function* () {
    const behind = yield* DocumentStore
    const buffer = yield* WriteBuffer
    const flusher = yield* Flusher
    const mode = yield* WriteMode
    const routing = yield* WriteRouting
    const unflushed = yield* UnflushedWrites

    // The open document of each room as last read. The buffer refuses an update of another one.
    const openNames = makeBoundedMap<string>(maxRooms)

    // A buffer that came back without its data would take an older version than was acknowledged, and the next update
    // the place of the copy that is to be saved. So it takes one only while it is known to have lost nothing.
    const loadOne = Effect.fnUntraced(function* (roomId: string, document: Document, isOpen: boolean, lease: Lease) {
      const parts = mode.partsOf(lease)
      if (parts !== undefined && (yield* buffer.load(roomId, document, isOpen, lease.number, parts))) return
      return yield* new BufferUnavailable({ isSent: false, cause: "the lease is over, or the buffer is another one" })
    })

    /** Loads the room's open document (and the named one) into the buffer; the name of the open one. */
    const load = Effect.fnUntraced(function* (roomId: string, lease: Lease, name?: string) {
      const open = yield* behind.get(roomId)
      yield* loadOne(roomId, open, true, lease)
      openNames.set(roomId, open.name)
      if (name !== undefined && name !== open.name) {
        yield* loadOne(roomId, yield* behind.get(roomId, name), false, lease)
      }
      return open.name
    })

    // Untraced, as it is on the hot path: Documents.update has the span.
    const updateInBuffer = Effect.fnUntraced(function* (
      lease: Lease,
      roomId: string,
      { baseVersion, membershipSeen: seen, name, text }: DocumentUpdate,
      { at, connectionId = "", user }: Actor
    ) {
      // Postgres may be away: it is asked only when neither this instance nor the buffer knows the open document.
      let open: string =
        openNames.get(roomId) ??
        (yield* buffer.document(roomId, undefined, lease.number))?.name ??
        (yield* load(roomId, lease))
      for (let left = attempts; left > 0; left--) {
        if (name !== undefined && name !== open) {
          const current = yield* buffer.document(roomId, undefined, lease.number)
          if (current !== undefined && current.name !== name) return yield* conflictWith(current)
          open = current?.name ?? (yield* load(roomId, lease))
          continue
        }
        const version = baseVersion + 1
        const event = updatedEvent(open, version, user, text)
        const wanted = { name: open, baseVersion, text, user, connectionId, at, event, lease: lease.number, seen }
        const updated = yield* buffer.update(roomId, wanted)
        switch (updated._tag) {
          case "Updated": {
            unflushed.document({ roomId, name: open, text, version, author: user, at })
            if (updated.isNew) mode.added(1)
            const value: Document = { name: open, text, version, savedVersion: updated.savedVersion }
            // The buffer published the event in the same step.
            return { value, changes: [] } satisfies Committed<Document>
          }
          case "Conflict":
            return yield* conflictWith({ ...updated, name: open })
          case "Unsure":
            return yield* new MembershipUnsure()
          case "NotOpen":
            open = updated.name
            openNames.set(roomId, open)
            continue
          case "Unknown":
            // What a former run of the buffer may have lost is saved before Postgres is read.
            yield* mode.suspect(updated.run)
            if ((yield* mode.current)?.number !== lease.number) {
              return yield* new BufferUnavailable({ isSent: false, cause: "the lease is over" })
            }
            open = yield* load(roomId, lease)
        }
      }
      return yield* uncertain()
    })

    const get: DocumentStore["Service"]["get"] = (roomId, name) =>
      routing.read(
        Effect.fnUntraced(function* (lease) {
          const { number } = lease
          const found = yield* buffer.document(roomId, name, number)
          if (found !== undefined) return found
          const open = yield* load(roomId, lease, name)
          return (yield* buffer.document(roomId, name ?? open, number)) ?? (yield* behind.get(roomId, name))
        }),
        behind.get(roomId, name)
      )

    const switchInBuffer = Effect.fnUntraced(function* (lease: Lease, roomId: string, name: string, actor: Actor) {
      // All updates of the former document are in Postgres before it is closed.
      yield* Effect.mapError(flusher.flushRoom(roomId), (error) =>
        error._tag === "BufferUnavailable" ? new BufferUnavailable({ isSent: false, cause: error.cause }) : error
      )
      const switched = yield* behind.switch(roomId, name, actor)
      // If this fails, the published switch makes the buffer read the open document again.
      yield* Effect.ignore(load(roomId, lease))
      yield* Effect.catchTag(flusher.flushRoom(roomId), "BufferUnavailable", () => Effect.void)
      const value = yield* Effect.catchTag(get(roomId, name), "RoomNotFound", () => Effect.succeed(switched.value))
      return { ...switched, value }
    })

    return DocumentStore.of({
      get,
      update: (roomId, update, actor) =>
        routing.unlessFull(
          routing.update(
            (lease) => updateInBuffer(lease, roomId, update, actor),
            // Suspended: what the store behind makes of it is seldom needed.
            Effect.suspend(() => behind.update(roomId, { ...update, allowGap: true }, actor))
          )
        ),
      switch: (roomId, name, actor) =>
        routing.update((lease) => switchInBuffer(lease, roomId, name, actor), behind.switch(roomId, name, actor))
    })
  })
)
