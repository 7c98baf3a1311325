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
import * as FlushScripts from "./FlushScripts.ts"
import * as PageScript from "./PageScript.ts"
import { BufferUnavailable, WriteBuffer } from "./WriteBuffer.ts"
import { makeEncoded } from "./WriteBufferEncoded.ts"
import * as Scripts from "./WriteScripts.ts"

/** How long the room of a message is found here. The message is in Postgres long before that. */
const messageRoomMs = 6 * 3_600_000
const messageRoomKey = (messageId: string) => `hotpath:message:${messageId}`

const unavailable = Effect.mapError((cause: unknown) => new BufferUnavailable({ isSent: !isNotSent(cause), cause }))

const toNumber = (text: string) => (text === "" ? undefined : Number(text))

const toUpdated = (reply: Scripts.UpdateReply) => {
  switch (reply[0]) {
    case "unknown":
      return { _tag: "Unknown", run: reply[1] } as const
    case "ok":
      return { _tag: "Updated", savedVersion: reply[1], isNew: reply[2] === 1 } as const
    case "conflict":
      return { _tag: "Conflict", version: reply[1], event: reply[2] } as const
    case "unsure":
      return { _tag: "Unsure" } as const
    case "closed":
      return { _tag: "NotOpen", name: reply[1] } as const
  }
}

export const layer = (intervalMs: number) =>
  Layer.effect(
    WriteBuffer,
    Effect.gen(function* () {
      const redis = yield* Redis.Redis
      const state = yield* RedisHealth
      const { check, onReconnected } = state
      const common = makeCommon(state)
      const scripts = {
        update: redis.eval(Scripts.update(common)),
        load: redis.eval(Scripts.load(common)),
        document: redis.eval(Scripts.document(common)),
        append: redis.eval(Scripts.append(common)),
        replace: redis.eval(Scripts.replace(common)),
        page: redis.eval(PageScript.page),
        claim: redis.eval(FlushScripts.claim),
        dirty: redis.eval(FlushScripts.dirty(common)),
        settle: redis.eval(FlushScripts.settle(common)),
        depth: redis.eval(FlushScripts.depth),
        rescued: redis.eval(FlushScripts.rescued),
        loss: redis.eval(FlushScripts.loss)
      }

      return makeEncoded({
        onReturn: onReconnected,
        rescued: (run, entries) => Effect.asVoid(unavailable(scripts.rescued(run, entries))),
        loss: (run, missing) => unavailable(scripts.loss(run, missing)),
        document: (roomId, name, lease) =>
          scripts.document(roomId, name ?? "", lease).pipe(
            Effect.map((found) => {
              if (found === null) return undefined
              const [open, event, version, savedVersion] = found
              return { name: open, event, version, savedVersion }
            }),
            unavailable
          ),
        load: (roomId, document, isOpen, lease) =>
          Effect.asVoid(unavailable(scripts.load(roomId, document, isOpen, lease))),
        update: (roomId, update) => unavailable(Effect.map(scripts.update(roomId, update, intervalMs), toUpdated)),
        append: (message) => {
          const { messageId, roomId } = message
          // Sent before the message, so that a receiver of its event finds its room.
          const indexed = redis.send("SET", messageRoomKey(messageId), roomId, "PX", String(messageRoomMs))
          const appended = scripts.append(message, intervalMs)
          // In a cluster one may fail without the other. A message that was appended and can't be found has an unknown
          // outcome: as "not kept" it would be written again, directly, and published twice.
          return Effect.all([Effect.exit(indexed), Effect.exit(appended)], { concurrency: 2 }).pipe(
            Effect.flatMap(([found, done]) =>
              Effect.flatMap(unavailable(done), (reply) =>
                Effect.as(
                  Effect.mapError(found, (cause) => new BufferUnavailable({ isSent: true, cause })),
                  reply
                )
              )
            ),
            Effect.map(([id, ordinal]) => (ordinal === "0" ? { sameAs: id } : { ordinal: Number(ordinal) }))
          )
        },
        message: (roomId, messageId) =>
          unavailable(
            Effect.map(
              redis.send<string | null>("HGET", Scripts.messagesKey(roomId), messageId),
              (text) => text ?? undefined
            )
          ),
        roomOfMessage: (messageId) =>
          unavailable(
            Effect.map(redis.send<string | null>("GET", messageRoomKey(messageId)), (roomId) => roomId ?? undefined)
          ),
        replace: (roomId, messageId, version, text, change) =>
          unavailable(
            Effect.map(scripts.replace(roomId, messageId, version, text, change), (replaced) => replaced === 1)
          ),
        page: (roomId, query) =>
          unavailable(
            Effect.map(scripts.page(roomId, query), ([texts, from, isCut, end, oldest]) => ({
              texts,
              from: toNumber(from),
              isCut: isCut === 1,
              end: toNumber(end),
              oldest: toNumber(oldest)
            }))
          ),
        claim: ({ all, leaseMs }) =>
          Effect.forEach(tags, (tag) => scripts.claim(tag, all, leaseMs), { concurrency: 16 }).pipe(
            Effect.map((rooms) => rooms.flat()),
            unavailable
          ),
        dirty: (roomId) =>
          unavailable(
            Effect.map(scripts.dirty(roomId), ([readAt, documents, texts, count]) => ({
              readAt,
              isWhole: texts.length === count,
              documents: documents.map(([name, event, version, author, at]) => ({ name, event, version, author, at })),
              texts
            }))
          ),
        settle: (roomId, { documents, messages, readAt }) =>
          scripts
            .settle(
              roomId,
              documents.map(({ name, version }) => [name, version] as const),
              messages.map(({ version, message }) => [message.messageId, version] as const),
              intervalMs,
              readAt
            )
            .pipe(Effect.asVoid, unavailable),
        // A Redis that is full answers reads, and takes no writes.
        depth: Effect.andThen(
          check,
          Effect.forEach(tags, (tag) => scripts.depth(tag, SecureRandom.uuidV4Unsafe()), { concurrency: 16 })
        ).pipe(
          Effect.map((all) => {
            const oldestAgeMs = Math.max(...all.map(([, age]) => age))
            const runs = all.map(([, , run]) => run)
            const origins = all.map(([, , , born]) => born)
            return {
              entries: all.reduce((sum, [entries]) => sum + entries, 0),
              oldestAgeMs: oldestAgeMs < 0 ? undefined : oldestAgeMs,
              run: hash("sha256", JSON.stringify([runs, origins]), "hex"),
              runs,
              origin: hash("sha256", JSON.stringify(origins), "hex")
            }
          }),
          unavailable
        )
      })
    })
  )
