// The write buffer in memory, for tests. Each operation is one step, as a script is in Redis, and time is that of
// Effect's Clock. It publishes no events, keeps quiet rooms for good, and a claim takes any number of rooms.
import { Clock, Effect } from "effect"
import { SecureRandom } from "effect/crypto"
import { messageText } from "../StoredEntries.ts"
import { dirtyAtOnce, dirtyBytes, dueAt, dueBytes, type WaitingQuery, WriteBuffer } from "../WriteBuffer.ts"
import { type EncodedPage, makeEncoded, type WriteBufferDriver } from "../WriteBufferEncoded.ts"

interface StoredDocument {
  /** The lease in which it was compared with Postgres. */
  readonly lease: number
  readonly name: string
  /** Of its last update; it has the text. */
  readonly event: string
  readonly version: number
  readonly savedVersion: number
  readonly author: string
  readonly at: string
  /** Undefined while it waits. */
  readonly forgottenAt: number | undefined
}

interface StoredMessage {
  readonly messageId: string
  readonly version: number
  readonly ordinal: number
  readonly text: string
}

interface StoredRoom {
  open: string | undefined
  openLease: number
  ordinal: number
  readonly documents: Map<string, StoredDocument>
  /** Names of documents that wait. */
  readonly waiting: Set<string>
  readonly messages: Map<string, StoredMessage>
  /** Ids of messages, by author and key. */
  readonly once: Map<string, { readonly messageId: string; readonly until: number }>
}

const newRoom = (): StoredRoom => ({
  open: undefined,
  openLease: 0,
  ordinal: 0,
  documents: new Map(),
  waiting: new Set(),
  messages: new Map(),
  once: new Map()
})

/** As in Redis. */
const rememberedMs = 24 * 3_600_000
const messageRoomMs = 6 * 3_600_000

const bytesOf = ({ text }: StoredMessage) => Buffer.byteLength(text)

const inOrder = (room: StoredRoom | undefined): ReadonlyArray<StoredMessage> =>
  [...(room?.messages.values() ?? [])].sort((a, b) => a.ordinal - b.ordinal)

const toPage = (
  all: ReadonlyArray<StoredMessage>,
  { before, holding = [], limit, maxBytes }: WaitingQuery
): EncodedPage => {
  const last = typeof before === "string" ? all.find(({ messageId }) => messageId === before) : undefined
  const until = typeof before === "string" ? (last?.ordinal ?? 0) : (before ?? Number.POSITIVE_INFINITY)
  const end = { end: last?.ordinal, oldest: all[0]?.ordinal }
  const found: Array<StoredMessage> = []
  let bytes = 0
  for (const message of all.filter(({ ordinal }) => ordinal < until).reverse()) {
    if (!holding.every((part) => message.text.includes(part))) continue
    bytes += bytesOf(message)
    if (found.length === limit || (found.length > 0 && bytes > maxBytes))
      return { texts: found.map(({ text }) => text), from: found.at(-1)?.ordinal, isCut: true, ...end }
    found.push(message)
  }
  return { texts: found.map(({ text }) => text), from: undefined, isCut: false, ...end }
}

export const make = (intervalMs: number) =>
  Effect.sync(() => {
    let run = SecureRandom.uuidV4Unsafe()
    const listeners = new Set<() => void>()
    const rooms = new Map<string, StoredRoom>()
    const due = new Map<string, number>()
    const since = new Map<string, number>()
    const messageRooms = new Map<string, { readonly roomId: string; readonly until: number }>()
    const lossReports = new Map<string, { rescued: number; isCounted: boolean }>()

    const step = <A>(one: (now: number) => A) => Effect.map(Clock.currentTimeMillis, one)

    const roomOf = (roomId: string): StoredRoom => {
      const room = rooms.get(roomId) ?? newRoom()
      rooms.set(roomId, room)
      return room
    }
    const find = (room: StoredRoom, name: string, now: number) => {
      const found = room.documents.get(name)
      if (found?.forgottenAt === undefined || found.forgottenAt > now) return found
      room.documents.delete(name)
      return undefined
    }
    const wait = (roomId: string, now: number) => {
      if (!due.has(roomId)) due.set(roomId, now + intervalMs)
      if (!since.has(roomId)) since.set(roomId, now)
    }
    /** With too many messages, or too big ones, a room is due at once. */
    const hurry = (roomId: string, room: StoredRoom, now: number) => {
      const isFull =
        room.messages.size >= dueAt || inOrder(room).reduce((sum, one) => sum + bytesOf(one), 0) >= dueBytes
      if (isFull) due.set(roomId, Math.min(due.get(roomId) ?? now, now))
    }
    const lossReportOf = (of: string) => {
      const found = lossReports.get(of) ?? { rescued: 0, isCounted: false }
      lossReports.set(of, found)
      return found
    }

    const driver: WriteBufferDriver = {
      rescued: (of, entries) =>
        step(() => {
          lossReportOf(of).rescued += entries
        }),
      loss: (of, missing) =>
        step(() => {
          const report = lossReportOf(of)
          if (report.isCounted) return 0
          report.isCounted = true
          return Math.max(0, missing - report.rescued)
        }),
      onReturn: (listener) =>
        Effect.acquireRelease(
          Effect.sync(() => void listeners.add(listener)),
          () => Effect.sync(() => void listeners.delete(listener))
        ),
      document: (roomId, name, lease) =>
        step((now) => {
          const room = rooms.get(roomId)
          const wanted = name ?? (room?.openLease === lease ? room.open : undefined)
          const found = room === undefined || wanted === undefined ? undefined : find(room, wanted, now)
          if (found?.lease !== lease) return undefined
          const { event, savedVersion, version } = found
          return { name: found.name, event, version, savedVersion }
        }),
      load: (roomId, { event, name, version }, isOpen, lease) =>
        step((now) => {
          const room = roomOf(roomId)
          if (isOpen) Object.assign(room, { open: name, openLease: lease })
          const known = find(room, name, now) ?? { event, author: "", at: "", version: -1, savedVersion: 0, lease }
          const isNewer = version > known.version || (version === known.version && known.lease !== lease)
          if (isNewer) room.waiting.delete(name)
          room.documents.set(name, {
            ...known,
            ...(isNewer && { event, version }),
            name,
            lease,
            savedVersion: Math.max(known.savedVersion, version),
            forgottenAt: room.waiting.has(name) ? undefined : now + rememberedMs
          })
        }),
      update: (roomId, { at, baseVersion, event, lease, name, user }) =>
        step((now) => {
          const room = roomOf(roomId)
          if (room.open === undefined || room.openLease !== lease) return { _tag: "Unknown", run } as const
          if (room.open !== name) return { _tag: "NotOpen", name: room.open } as const
          const known = find(room, name, now)
          if (known?.lease !== lease) return { _tag: "Unknown", run } as const
          if (baseVersion !== known.version)
            return { _tag: "Conflict", version: known.version, event: known.event } as const
          const updated = { event, version: baseVersion + 1, author: user, at, forgottenAt: undefined }
          room.documents.set(name, { ...known, ...updated })
          const isNew = !room.waiting.has(name)
          room.waiting.add(name)
          wait(roomId, now)
          return { _tag: "Updated", savedVersion: known.savedVersion, isNew } as const
        }),
      append: ({ author, key, messageId, roomId, tail }) =>
        step((now) => {
          const room = roomOf(roomId)
          messageRooms.set(messageId, { roomId, until: now + messageRoomMs })
          if (key !== undefined) {
            const once = JSON.stringify([author, key])
            const known = room.once.get(once)
            if (known !== undefined && known.until > now) return { sameAs: known.messageId }
            room.once.set(once, { messageId, until: now + rememberedMs })
          }
          if (room.messages.has(messageId)) return { sameAs: messageId }
          const ordinal = Math.max(room.ordinal + 1, now * 1000)
          room.ordinal = ordinal
          room.messages.set(messageId, { messageId, version: 0, ordinal, text: messageText(0, ordinal, tail) })
          wait(roomId, now)
          hurry(roomId, room, now)
          return { ordinal }
        }),
      message: (roomId, messageId) => step(() => rooms.get(roomId)?.messages.get(messageId)?.text),
      roomOfMessage: (messageId) =>
        step((now) => {
          const found = messageRooms.get(messageId)
          return found === undefined || found.until <= now ? undefined : found.roomId
        }),
      replace: (roomId, messageId, version, text) =>
        step((now) => {
          const room = roomOf(roomId)
          const known = room.messages.get(messageId)
          if (known?.version !== version) return false
          room.messages.set(messageId, { ...known, version: version + 1, text })
          hurry(roomId, room, now)
          return true
        }),
      page: (roomId, query) => step(() => toPage(inOrder(rooms.get(roomId)), query)),
      claim: ({ all, leaseMs }) =>
        step((now) => {
          const claimed = [...due].filter(([, at]) => all || at <= now).sort(([, a], [, b]) => a - b)
          for (const [roomId] of claimed) due.set(roomId, now + leaseMs)
          return claimed.map(([roomId]) => roomId)
        }),
      dirty: (roomId) =>
        step((now) => {
          const room = rooms.get(roomId)
          if (room === undefined) return { readAt: now, isWhole: true, documents: [], texts: [] }
          const messages = inOrder(room)
          let bytes = 0
          const some = messages.slice(0, dirtyAtOnce).filter((message, n) => {
            bytes += bytesOf(message)
            return n === 0 || bytes <= dirtyBytes
          })
          const isWhole = some.length === messages.length
          return {
            readAt: isWhole ? now : (since.get(roomId) ?? now),
            isWhole,
            documents: [...room.waiting].flatMap((waits) => {
              const found = find(room, waits, now)
              if (found === undefined) return []
              const { at, author, event, name, version } = found
              return [{ name, event, version, author, at }]
            }),
            texts: some.map(({ text }) => text)
          }
        }),
      settle: (roomId, saved) =>
        step((now) => {
          const room = rooms.get(roomId)
          for (const { name, version } of saved.documents) {
            const known = room?.documents.get(name)
            if (room === undefined || known === undefined) continue
            const isSame = known.version === version
            if (isSame) room.waiting.delete(name)
            room.documents.set(name, {
              ...known,
              savedVersion: Math.max(known.savedVersion, version),
              ...(isSame && { forgottenAt: now + rememberedMs })
            })
          }
          for (const { message, version } of saved.messages)
            if (room?.messages.get(message.messageId)?.version === version) room.messages.delete(message.messageId)
          if (room === undefined || room.waiting.size + room.messages.size === 0) {
            due.delete(roomId)
            since.delete(roomId)
          } else {
            due.set(roomId, now + intervalMs)
            since.set(roomId, saved.readAt)
          }
        }),
      depth: step((now) => ({
        entries: [...rooms.values()].reduce((sum, { messages, waiting }) => sum + messages.size + waiting.size, 0),
        oldestAgeMs: since.size === 0 ? undefined : now - Math.min(...since.values()),
        run,
        runs: [run],
        origin: "memory"
      }))
    }

    return {
      buffer: WriteBuffer.of(makeEncoded(driver)),
      /** The event of another document's opening was published. */
      switched: (roomId: string) => {
        roomOf(roomId).open = undefined
      },
      /** It comes back empty. */
      restart: () => {
        run = SecureRandom.uuidV4Unsafe()
        for (const all of [rooms, due, since, messageRooms]) all.clear()
        for (const listener of listeners) listener()
      }
    }
  })
