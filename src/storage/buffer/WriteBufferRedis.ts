// The write buffer in Redis. Entries outlive the instance that wrote them. A Redis that loses its data loses those that
// were not flushed, except for the copies in the instances' memory (UnflushedWrites.ts).
import { hash } from "node:crypto"
import { Effect, Layer } from "effect"
import { SecureRandom } from "effect/crypto"
import { Redis } from "effect/persistence"
import { RedisHealth } from "../../infra/redis/RedisHealth.ts"
import { isNotSent } from "../../infra/redis/RedisUnavailable.ts"
import { tags } from "../../infra/redis/RoomKeys.ts"
import { makeCommon } from "../../infra/redis/RoomLog.ts"
import * as Waits from "./WaitingScripts.ts"
import { BufferUnavailable, type Updated, WriteBuffer } from "./WriteBuffer.ts"
import * as Writes from "./WriteScripts.ts"

/** How long the room of a message is found here. The message is in Postgres long before that. */
const messageRoomMs = 6 * 3_600_000
const messageRoomKey = (messageId: string) => `hotpath:message:${messageId}`

const unavailable = Effect.mapError((cause: unknown) => new BufferUnavailable({ isSent: !isNotSent(cause), cause }))

const toNumber = (text: string) => (text === "" ? undefined : Number(text))

const toUpdated = (reply: Writes.UpdateReply): Effect.Effect<Updated, BufferUnavailable> => {
  switch (reply[0]) {
    case "unknown":
      return Effect.succeed({ _tag: "Unknown", run: reply[1] })
    case "ok":
      return Effect.succeed({ _tag: "Updated", savedVersion: reply[1], isNew: reply[2] === 1 })
    case "conflict":
      return Effect.map(Writes.decodeDocument(reply[2]), (text) => ({ _tag: "Conflict", version: reply[1], text }))
    case "unsure":
      return Effect.succeed({ _tag: "Unsure" })
    case "closed":
      return Effect.succeed({ _tag: "NotOpen", name: reply[1] })
  }
}

export const layer = (intervalMs: number) =>
  Layer.effect(
    WriteBuffer,
    Effect.gen(function* () {
      const redis = yield* Redis.Redis
      const health = yield* RedisHealth
      const common = makeCommon(health)
      // What one script may ask for at a time: in a Cluster the keys of one slot.
      const groups = health.isCluster ? tags.map((tag) => [tag]) : [tags]

      const script = <Config extends { readonly params: ReadonlyArray<unknown>; readonly result: unknown }>(
        of: Redis.Script<Config>
      ) => {
        const run = redis.eval(of)
        return (...params: Config["params"]) => unavailable(run(...params))
      }
      const get = (...command: readonly [string, ...ReadonlyArray<string>]) =>
        Effect.map(unavailable(redis.send<string | null>(...command)), (text) => text ?? undefined)

      const update = script(Writes.update(common))
      const load = script(Writes.load(common))
      const document = script(Writes.document(common))
      const append = script(Writes.append(common))
      const replace = script(Writes.replace(common))
      const page = script(Waits.page)
      const claim = script(Waits.claim)
      const dirty = script(Waits.dirty(common))
      const settle = script(Waits.settle(common))
      const depth = script(Waits.depth)

      return WriteBuffer.of({
        onReturn: health.onReconnected,
        rescued: script(Waits.rescued),
        loss: script(Waits.loss),
        load: (...loaded) => Effect.map(load(...loaded), (isLoaded) => isLoaded === 1),
        document: Effect.fnUntraced(function* (roomId, wanted, lease) {
          const found = yield* document(roomId, wanted ?? "", lease)
          if (found === null) return undefined
          const [name, event, version, savedVersion] = found
          return { name, text: yield* Writes.decodeDocument(event), version, savedVersion }
        }),
        update: (roomId, wanted) => Effect.flatMap(update(roomId, wanted, intervalMs), toUpdated),
        append: Effect.fnUntraced(function* (message, key, event, lease) {
          const { messageId, roomId } = message
          // Sent before the message, so that a receiver of its event finds its room.
          const indexed = redis.send("SET", messageRoomKey(messageId), roomId, "PX", String(messageRoomMs))
          const both = [Effect.exit(indexed), Effect.exit(append(message, key, event, lease, intervalMs))] as const
          const [found, appended] = yield* Effect.all(both, { concurrency: 2 })
          const [id, ordinal] = yield* appended
          // In a cluster one may fail without the other. A message that was appended and can't be found has an unknown
          // outcome: as "not kept" it would be written again, directly, and published twice.
          yield* Effect.mapError(found, (cause) => new BufferUnavailable({ isSent: true, cause }))
          return ordinal === "0" ? { sameAs: id } : { ordinal: Number(ordinal) }
        }),
        message: (roomId, messageId) =>
          Effect.flatMap(get("HGET", Writes.messagesKey(roomId), messageId), (text) =>
            text === undefined ? Effect.undefined : Writes.decodeMessage(text)
          ),
        roomOfMessage: (messageId) => get("GET", messageRoomKey(messageId)),
        replace: (entry, change) => Effect.map(replace(entry, change), (replaced) => replaced === 1),
        messages: Effect.fnUntraced(function* (roomId, query) {
          // What is appended after the first script is newer: `end` and `oldest` are those that it found.
          const [found, place, cut, end, oldest] = yield* page(roomId, query)
          const texts = [...found]
          let [from, isCut] = [toNumber(place), cut === 1]
          for (;;) {
            const limit = query.limit - texts.length
            const maxBytes = query.maxBytes - texts.reduce((sum, text) => sum + text.length, 0)
            if (isCut || from === undefined || maxBytes <= 0) break
            const [older, olderPlace, olderCut] = yield* page(roomId, { ...query, before: from, limit, maxBytes })
            texts.push(...older)
            from = toNumber(olderPlace)
            isCut = olderCut === 1
          }
          const entries = yield* Effect.forEach(texts, Writes.decodeMessage)
          return { entries: entries.reverse(), from, end: toNumber(end), oldest: toNumber(oldest) }
        }),
        claim: ({ all, leaseMs }) =>
          Effect.map(
            Effect.forEach(groups, (some) => claim(some, all, leaseMs), { concurrency: 16 }),
            (rooms) => rooms.flat()
          ),
        dirty: Effect.fnUntraced(function* (roomId) {
          const [readAt, documents, texts, count, leased] = yield* dirty(roomId)
          const messages = yield* Effect.forEach(texts, Writes.decodeMessage)
          return {
            readAt,
            lease: leased === null ? undefined : Number(leased),
            isWhole: texts.length === count,
            documents: yield* Effect.forEach(documents, ([name, event, version, author, at]) =>
              Effect.map(Writes.decodeDocument(event), (text) => ({ name, text, version, author, at }))
            ),
            messages: messages.sort((a, b) => a.ordinal - b.ordinal)
          }
        }),
        settle: (roomId, saved) => settle(roomId, saved, intervalMs),
        // A Redis that is full answers reads, and takes no writes.
        depth: Effect.andThen(
          unavailable(health.check),
          Effect.forEach(
            groups,
            (some) =>
              depth(
                some,
                some.map(() => SecureRandom.uuidV4Unsafe())
              ),
            { concurrency: 16 }
          )
        ).pipe(
          Effect.map((groups) => {
            const all = groups.flat()
            const oldestAgeMs = Math.max(...all.map(([, age]) => age))
            const runs = all.map(([, , run]) => run)
            const origins = all.map(([, , , born]) => born)
            return {
              entries: all.reduce((sum, [entries]) => sum + entries, 0),
              oldestAgeMs: oldestAgeMs < 0 ? undefined : oldestAgeMs,
              run: hash("sha256", JSON.stringify([runs, origins]), "hex"),
              runs,
              parts: all.map(([, , run, born]) => `${run} ${born}`),
              origin: hash("sha256", JSON.stringify(origins), "hex")
            }
          })
        )
      })
    })
  )
