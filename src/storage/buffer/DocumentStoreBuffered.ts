// Documents with a buffer before them: updated and read there, as long as it is to be used.
import { Effect } from "effect"
import type { Actor } from "../../domain/Actor.ts"
import { conflictWith, type Document, updatedEvent } from "../../domain/Document.ts"
import { MembershipUnsure } from "../../domain/Room.ts"
import type { DocumentsPart } from "../rooms/Parts.ts"
import type { Committed, DocumentUpdate, Repository } from "../rooms/Repository.ts"
import type { Durable } from "./Durable.ts"
import type { Flusher } from "./Flusher.ts"
import type { UnflushedWrites } from "./UnflushedWrites.ts"
import { BufferUnavailable, type Update, type Updated, type WriteBuffer } from "./WriteBuffer.ts"
import type { Lease, WriteMode } from "./WriteMode.ts"
import { uncertain, type WriteRouting } from "./WriteRouting.ts"

const attempts = 6
const maxNames = 20_000

const told = <A>(value: A): Committed<A> => ({ value, changes: [] })

interface Parts {
  readonly acknowledged: UnflushedWrites["Service"]
  readonly buffer: WriteBuffer["Service"]
  readonly durable: Durable["Service"]
  readonly flusher: Flusher["Service"]
  readonly leases: WriteMode["Service"]
  readonly routing: WriteRouting["Service"]
}

export const makeBufferedDocuments = ({
  acknowledged,
  buffer,
  durable,
  flusher,
  leases,
  routing
}: Parts): DocumentsPart => {
  const { read, unlessFull, update } = routing

  // The document that each room has open, as last heard; the buffer says when that is another.
  const names = new Map<string, string>()
  const remember = (roomId: string, name: string) => {
    names.delete(roomId)
    names.set(roomId, name)
    const [oldest] = names.keys()
    if (names.size > maxNames && oldest !== undefined) names.delete(oldest)
  }

  /** Without the buffer nothing that is known here waits. */
  const flushRoom = (roomId: string) =>
    Effect.catchTag(flusher.flushRoom(roomId), "BufferUnavailable", () => Effect.void)

  /** Makes the open document (or another) of a room known to the buffer; the open one's name. */
  const load = Effect.fnUntraced(function* (roomId: string, lease: number, name?: string) {
    const open = yield* durable.document(roomId)
    yield* buffer.load(roomId, open, true, lease)
    remember(roomId, open.name)
    if (name !== undefined && name !== open.name)
      yield* buffer.load(roomId, yield* durable.document(roomId, name), false, lease)
    return open.name
  })

  const bufferedUpdate = Effect.fnUntraced(function* (
    { number: lease }: Lease,
    roomId: string,
    { baseVersion, name, text }: DocumentUpdate,
    actor: Actor
  ) {
    const { at, connectionId = "", seen, user } = actor
    // Postgres is asked only if nobody else did: it may be away.
    let own: string =
      names.get(roomId) ?? (yield* buffer.document(roomId, undefined, lease))?.name ?? (yield* load(roomId, lease))
    for (let left = attempts; left > 0; left--) {
      // Whoever named another document than the open one is late.
      if (name !== undefined && name !== own) {
        const open = yield* buffer.document(roomId, undefined, lease)
        if (open !== undefined && open.name !== name) return yield* conflictWith(open)
        own = open?.name ?? (yield* load(roomId, lease))
        continue
      }
      const event = updatedEvent(own, baseVersion + 1, user, text)
      const wanted: Update = { name: own, baseVersion, text, user, connectionId, at, event, lease, seen }
      const updated: Updated = yield* buffer.update(roomId, wanted)
      switch (updated._tag) {
        case "Updated": {
          const version = baseVersion + 1
          acknowledged.document({ roomId, name: own, text, version, author: user, at })
          if (updated.isNew) leases.added(1)
          return told<Document>({ name: own, text, version, savedVersion: updated.savedVersion })
        }
        case "Conflict":
          return yield* conflictWith({ ...updated, name: own })
        case "Unsure":
          return yield* new MembershipUnsure()
        case "NotOpen":
          own = updated.name
          remember(roomId, own)
          continue
        case "Unknown":
          // What another run may have lost has to be saved before Postgres is believed.
          yield* leases.suspect(updated.run)
          if ((yield* leases.current)?.number !== lease) {
            return yield* new BufferUnavailable({ isSent: false, cause: "the lease is over" })
          }
          own = yield* load(roomId, lease)
      }
    }
    return yield* uncertain()
  })

  const updateDocument: Repository["Service"]["updateDocument"] = (roomId, wanted, actor) =>
    unlessFull(
      update(
        (lease) => bufferedUpdate(lease, roomId, wanted, actor),
        durable.updateDocument(roomId, { ...wanted, isAhead: true }, actor)
      )
    )

  const document: Repository["Service"]["document"] = (roomId, name) =>
    read(
      ({ number }) =>
        Effect.gen(function* () {
          const found = yield* buffer.document(roomId, name, number)
          if (found !== undefined) return found
          const opened = yield* load(roomId, number, name)
          return (yield* buffer.document(roomId, name ?? opened, number)) ?? (yield* durable.document(roomId, name))
        }),
      durable.document(roomId, name)
    )

  const bufferedSwitch = Effect.fnUntraced(function* (
    { number: lease }: Lease,
    roomId: string,
    name: string,
    actor: Actor
  ) {
    // What the former one has is in Postgres before it is closed, and so is what came while it was.
    yield* Effect.mapError(flusher.flushRoom(roomId), (error) =>
      error._tag === "BufferUnavailable" ? new BufferUnavailable({ isSent: false, cause: error.cause }) : error
    )
    const switched = yield* durable.switchDocument(roomId, name, actor)
    // Should this fail: once the switch was told, the buffer asks anew which one is open.
    yield* Effect.ignore(load(roomId, lease))
    yield* flushRoom(roomId)
    const value = yield* Effect.catchTag(document(roomId, name), "RoomNotFound", () => Effect.succeed(switched.value))
    return { ...switched, value }
  })

  return {
    document,
    updateDocument,
    switchDocument: (roomId, name, actor) =>
      update((lease) => bufferedSwitch(lease, roomId, name, actor), durable.switchDocument(roomId, name, actor)),
    flushRoom
  }
}
