// What waits in the write buffer in memory, of all rooms. Any number of instances share it.
//
// Bounds: the buffered stores refuse writes at BUFFER_ENTRIES. Of rooms and documents that do not wait, and of keys and
// ids of messages that are saved, so many are remembered: the oldest are forgotten first, as they are in Redis by time.
import { Context, Layer } from "effect"
import { SecureRandom } from "effect/crypto"
import type { Document } from "../../../domain/Document.ts"
import { makeBoundedMap } from "../../../infra/BoundedMap.ts"
import { makeListeners } from "../../../infra/Listeners.ts"
import type { BufferedMessage, DirtyDocument } from "../WriteBuffer.ts"

const maxRooms = 20_000
/** Documents of a room. */
const maxDocuments = 100
const maxMessages = 500_000
/** Incarnations whose loss is counted. */
const maxRuns = 100

export interface StoredDocument extends Document, DirtyDocument {
  /** The lease in which it was compared with Postgres. Undefined: not in this run. */
  readonly lease: number | undefined
}

export class StoredRoom {
  /** The open document, in which lease it was loaded, and how many switches the room's log had then. */
  open: { readonly name: string; readonly lease: number | undefined; readonly switches: number } | undefined
  ordinal = 0
  /** The lease under which it began to wait. */
  waitsUnder: number | undefined
  /** Those that were written last come last. */
  readonly documents = new Map<string, StoredDocument>()
  /** Names of documents that wait. */
  readonly waiting = new Set<string>()
  readonly messages = new Map<string, BufferedMessage>()
  /** Of the messages, as JSON. */
  bytes = 0

  get isWaiting(): boolean {
    return this.waiting.size + this.messages.size > 0
  }

  put(document: StoredDocument): void {
    this.documents.delete(document.name)
    this.documents.set(document.name, document)
    if (this.documents.size <= maxDocuments) return
    for (const name of this.documents.keys()) {
      if (this.waiting.has(name) || name === this.open?.name || name === document.name) continue
      this.documents.delete(name)
      return
    }
  }
}

const make = () => {
  const rooms = new Map<string, StoredRoom>()
  /** When each room that waits is to be flushed, and since when it waits. */
  const due = new Map<string, number>()
  const since = new Map<string, number>()
  /** The room of each message. */
  const messageRooms = makeBoundedMap<string>(maxMessages)
  /** Ids of messages, by room, author and key. */
  const once = makeBoundedMap<string>(maxMessages)
  /** By run: the entries that were saved from memory. */
  const rescued = makeBoundedMap<number>(maxRuns)
  /** The runs whose loss was counted. */
  const counted = makeBoundedMap<true>(maxRuns)
  const returned = makeListeners()
  let run = SecureRandom.uuidV4Unsafe()
  let origin = SecureRandom.uuidV4Unsafe()

  const restart = () => {
    run = SecureRandom.uuidV4Unsafe()
    for (const room of rooms.values()) {
      if (room.open !== undefined) room.open = { ...room.open, lease: undefined }
      for (const document of room.documents.values())
        room.documents.set(document.name, { ...document, lease: undefined })
    }
    returned.notify()
  }

  return {
    rooms,
    due,
    since,
    messageRooms,
    once,
    rescued,
    counted,
    returned,
    run: () => run,
    origin: () => origin,
    roomOf: (roomId: string): StoredRoom => {
      const known = rooms.get(roomId)
      if (known !== undefined) return known
      if (rooms.size >= maxRooms) {
        for (const [oldest, room] of rooms) {
          if (room.isWaiting) continue
          rooms.delete(oldest)
          break
        }
      }
      const room = new StoredRoom()
      rooms.set(roomId, room)
      return room
    },
    /** It comes back as another incarnation with what it had: documents are to be compared with Postgres again. */
    restart,
    /** It comes back as another incarnation, and empty. */
    lose: () => {
      for (const all of [rooms, due, since, messageRooms, once, rescued, counted]) all.clear()
      origin = SecureRandom.uuidV4Unsafe()
      restart()
    }
  }
}

export class WriteBufferState extends Context.Service<WriteBufferState, ReturnType<typeof make>>()(
  "hotpath/storage/buffer/memory/WriteBufferState"
) {
  static readonly layer = Layer.sync(WriteBufferState, make)
}
