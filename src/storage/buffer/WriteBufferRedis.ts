// The buffer in Redis. It survives an instance; a Redis that loses its data loses what was not saved yet.
import { hash } from "node:crypto"
import { Effect, Layer, Schema } from "effect"
import { SecureRandom } from "effect/crypto"
import { Redis } from "effect/persistence"
import { RedisHealth } from "../../infra/redis/RedisHealth.ts"
import { isNotSent } from "../../infra/redis/RedisUnavailable.ts"
import { tags } from "../../infra/redis/RoomKeys.ts"
import { makeCommon } from "../../infra/redis/RoomLog.ts"
import * as FlushScripts from "./FlushScripts.ts"
import * as PageScript from "./PageScript.ts"
import { BufferedMessage, BufferUnavailable, type Updated, WriteBuffer } from "./WriteBuffer.ts"
import * as Scripts from "./WriteScripts.ts"

const Stored = Schema.fromJsonString(BufferedMessage)
/** The text of a document is in the event of its last update, once. */
const decodeText = Schema.decodeUnknownEffect(Schema.fromJsonString(Schema.Struct({ text: Schema.String })))
const decodeMessage = Schema.decodeUnknownEffect(Stored)

/** How long the room of a message can be asked for; it is in Postgres long before. */
const whereaboutsMs = 6 * 3_600_000
const whereKey = (messageId: string) => `hotpath:message:${messageId}`

/** An entry's JSON text from its position on. */
const rest = ({ key, message }: Pick<BufferedMessage, "key" | "message">) =>
  `,"key":${JSON.stringify(key)},"message":${JSON.stringify(message)}}`

const unavailable = Effect.mapError((cause: unknown) => new BufferUnavailable({ isSent: !isNotSent(cause), cause }))

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

      return WriteBuffer.of({
        onReturn: onReconnected,
        rescued: (run, entries) => Effect.asVoid(unavailable(scripts.rescued(run, entries))),
        loss: (run, missing) => unavailable(scripts.loss(run, missing)),
        document: (roomId, name, lease) =>
          scripts.document(roomId, name ?? "", lease).pipe(
            Effect.flatMap((found) => {
              if (found === null) return Effect.undefined
              const [own, event, version, savedVersion] = found
              return Effect.map(decodeText(event), ({ text }) => ({ name: own, text, version, savedVersion }))
            }),
            unavailable
          ),
        load: (roomId, document, isOpen, lease) =>
          Effect.asVoid(unavailable(scripts.load(roomId, document, isOpen, lease))),
        update: (roomId, wanted) =>
          scripts.update(roomId, wanted, intervalMs).pipe(
            Effect.flatMap((reply): Effect.Effect<Updated, Schema.SchemaError> => {
              switch (reply[0]) {
                case "unknown":
                  return Effect.succeed({ _tag: "Unknown", run: reply[1] })
                case "ok":
                  return Effect.succeed({ _tag: "Updated", savedVersion: reply[1], isNew: reply[2] === 1 })
                case "conflict":
                  return Effect.map(decodeText(reply[2]), ({ text }) => ({ _tag: "Conflict", version: reply[1], text }))
                case "unsure":
                  return Effect.succeed({ _tag: "Unsure" })
                default:
                  return Effect.succeed({ _tag: "NotOpen", name: reply[1] })
              }
            }),
            unavailable
          ),
        append: (message, key, event) => {
          const { at, author, messageId, roomId } = message
          const entry = rest({ key: key ?? null, message })
          // Before the message, so that whoever is told of it finds it.
          const where = redis.send("SET", whereKey(messageId), roomId, "PX", String(whereaboutsMs))
          const appended = scripts.append(roomId, messageId, author, key, entry, at, event, intervalMs)
          // In a cluster the one may fail without the other. What was appended and can't be found is not known to be kept:
          // taking it for not kept would write it again, past the buffer, and tell it twice.
          return Effect.all([Effect.exit(where), Effect.exit(appended)], { concurrency: 2 }).pipe(
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
        message: Effect.fnUntraced(function* (roomId, messageId) {
          const text = yield* redis.send<string | null>("HGET", Scripts.messagesKey(roomId), messageId)
          return text === null ? undefined : yield* decodeMessage(text)
        }, unavailable),
        roomOfMessage: (messageId) =>
          redis.send<string | null>("GET", whereKey(messageId)).pipe(
            Effect.map((roomId) => roomId ?? undefined),
            unavailable
          ),
        replace: (entry, change) => {
          const { version, message, ordinal } = entry
          const text = `{"edition":${version},"position":${ordinal}${rest(entry)}`
          return scripts.replace(message.roomId, message.messageId, version - 1, text, change).pipe(
            Effect.map((done) => done === 1),
            unavailable
          )
        },
        messages: Effect.fnUntraced(function* (roomId, query) {
          const texts: Array<string> = []
          let { before, limit, maxBytes } = query
          let end: number | undefined
          let lowest: number | undefined
          for (;;) {
            const [found, from, isCut, last, oldest] = yield* scripts.page(roomId, {
              ...query,
              before,
              limit,
              maxBytes
            })
            end ??= last === "" ? undefined : Number(last)
            // What was appended meanwhile is newer.
            lowest ??= oldest === "" ? undefined : Number(oldest)
            texts.push(...found)
            limit -= found.length
            maxBytes -= found.reduce((sum, text) => sum + text.length, 0)
            const isEnough = isCut === 1 || (from !== "" && maxBytes <= 0)
            if (from !== "" && !isEnough) {
              before = Number(from)
              continue
            }
            const entries = yield* Effect.forEach(texts, (text) => decodeMessage(text))
            return { entries: entries.reverse(), from: isEnough ? Number(from) : undefined, end, oldest: lowest }
          }
        }, unavailable),
        claim: ({ all, leaseMs }) =>
          Effect.forEach(tags, (tag) => scripts.claim(tag, all, leaseMs), { concurrency: 16 }).pipe(
            Effect.map((rooms) => rooms.flat()),
            unavailable
          ),
        dirty: Effect.fnUntraced(function* (roomId) {
          const [readAt, documents, texts, count] = yield* scripts.dirty(roomId)
          const messages = yield* Effect.forEach(texts, (text) => decodeMessage(text))
          return {
            readAt,
            isWhole: texts.length === count,
            documents: yield* Effect.forEach(documents, ([name, event, version, author, at]) =>
              Effect.map(decodeText(event), ({ text }) => ({ name, text, version, author, at }))
            ),
            messages: messages.sort((a, b) => a.ordinal - b.ordinal)
          }
        }, unavailable),
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
        // Also whether it takes writes: full, it would still answer.
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
