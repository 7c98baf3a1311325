// Caches the lists and pages that many clients read, as the JSON of the reply, by room and version. Redis counts the
// changes of each part of a room, and the count is part of the key: no client gets a page that is older than a write
// it was notified of, on any instance. Requests for the same page at the same time share one read. Without Redis the
// version is unknown, and every read goes to Postgres.
//
// A page has at most `pageBytes`, all cached pages together `maxBytes`: beyond it the least recently used ones are
// dropped. Every page of newest messages is cut out of one of two cached ones (50 and 100 messages).
import { Cache, Context, Duration, Effect, Layer, Schema } from "effect"
import { LRUCache } from "lru-cache"
import type { Versions } from "../cluster/rooms/RoomBus.ts"
import type { Thread } from "../domain/Message.ts"
import type { StorageUnavailable } from "../domain/Room.ts"
import { Metrics } from "../observability/Metrics.ts"
import { listLimits } from "../storage/rooms/ListPart.ts"
import { MemberStore } from "../storage/rooms/MemberStore.ts"
import { MessageStore } from "../storage/rooms/MessageStore.ts"
import { ThreadStore } from "../storage/rooms/ThreadStore.ts"
import { bytesOf, firstOf, type JsonPage, lastItems, lastOf, pageBytes } from "./JsonPage.ts"
import { type ListParams, listed, toQuery } from "./Listing.ts"

/** Bytes of all cached pages in memory. */
const maxBytes = 33_554_432
/** Reads at a time. */
const maxFlights = 10_000
/** Messages in the cached pages. */
const cachedSizes = [50, 100] as const

// As JSON: the key contains text of the client, and joined with any character two keys could be the same text.
const Key = Schema.fromJsonString(Schema.Tuple([Schema.String, Schema.String, Schema.Finite, Schema.String]))
const decodeKey = Schema.decodeSync(Key)

const keyOfThread = ({ createdAt, threadId }: Thread) => [createdAt, threadId] as const

type Read<A = string> = Effect.Effect<A, StorageUnavailable>

export class RoomReadCache extends Context.Service<
  RoomReadCache,
  {
    /** `"threads":[Thread, …],"more":boolean,"next":cursor or null` as JSON. */
    readonly threads: (
      roomId: string,
      archived: boolean | undefined,
      versions: Versions | undefined,
      params: ListParams
    ) => Read
    /** The newest messages, as `"messages":[Message, …],"more":boolean`. */
    readonly newest: (
      roomId: string,
      threadId: string | undefined,
      limit: number,
      versions: Versions | undefined
    ) => Read
    /** The first participants. */
    readonly participants: (roomId: string, versions: Versions | undefined) => Read<JsonPage>
  }
>()("hotpath/rooms/RoomReadCache") {
  static readonly layer = Layer.effect(
    RoomReadCache,
    Effect.gen(function* () {
      const members = yield* MemberStore
      const messages = yield* MessageStore
      const threads = yield* ThreadStore
      const { cache, gauge } = yield* Metrics
      const pages = new LRUCache<string, JsonPage>({
        maxSize: maxBytes,
        sizeCalculation: (page, key) => bytesOf(page) + 2 * key.length
      })
      gauge("page_cache_bytes", "Pages and lists of rooms cached in memory", () => pages.calculatedSize)

      const make = Effect.fnUntraced(function* (
        name: "messages" | "threads" | "participants",
        ttl: Duration.Input,
        read: (roomId: string, rest: string) => Read<JsonPage>
      ) {
        const metrics = cache[name]
        const ttlMs = Duration.toMillis(ttl)
        const parse = (key: string) => {
          const [roomId, , , rest] = decodeKey(key)
          return Effect.map(read(roomId, rest), (page) => {
            pages.set(`${name} ${key}`, page, { ttl: ttlMs })
            return page
          })
        }
        // One read per key at a time; its page goes to `pages`.
        const flights = yield* Cache.makeWith(parse, { capacity: maxFlights, timeToLive: () => Duration.zero })
        return (roomId: string, epoch: string | undefined, version: number, rest: string): Read<JsonPage> => {
          if (epoch === undefined) {
            metrics.bypass.add()
            return read(roomId, rest)
          }
          const key = JSON.stringify([roomId, epoch, version, rest])
          const found = pages.get(`${name} ${key}`)
          if (found !== undefined) {
            metrics.hit.add()
            return Effect.succeed(found)
          }
          metrics.miss.add()
          return Cache.get(flights, key)
        }
      })

      const firstThreads = yield* make("threads", "5 minutes", (roomId, rest) =>
        Effect.map(
          threads.list(roomId, rest === "" ? undefined : rest === "true", toQuery({})),
          (found): JsonPage => ({ text: listed("threads", found, {}, keyOfThread), starts: [], more: false })
        )
      )
      const newest = yield* make("messages", "2 minutes", (roomId, rest) => {
        // The limit is a number, so the first blank ends it, whatever the client gave as the thread.
        const end = rest.indexOf(" ")
        const threadId = rest.slice(end + 1)
        const page = {
          limit: Number(rest.slice(0, end)),
          threadId: threadId === "" ? undefined : threadId,
          maxBytes: pageBytes
        }
        return messages.page(roomId, page).pipe(
          Effect.map(({ messages, more }) => lastOf(messages, page.limit, more)),
          // Only a page that ends before a message can fail with it.
          Effect.catchTag("MessageNotFound", () => Effect.succeed(lastOf([], 0, false)))
        )
      })
      const participants = yield* make("participants", "5 minutes", (roomId) =>
        Effect.map(members.list(roomId, { limit: listLimits.participants + 1, maxBytes: pageBytes }), (found) =>
          firstOf(found, listLimits.participants)
        )
      )

      return RoomReadCache.of({
        threads: (roomId, archived, versions, params) =>
          params.cursor === undefined && params.limit === undefined
            ? Effect.map(
                firstThreads(
                  roomId,
                  versions?.epoch,
                  versions?.threads ?? 0,
                  archived === undefined ? "" : String(archived)
                ),
                ({ text }) => text
              )
            : Effect.map(threads.list(roomId, archived, toQuery(params)), (found) =>
                listed("threads", found, params, keyOfThread)
              ),
        newest: (roomId, threadId, limit, versions) => {
          // Without versions nothing is cached, so no more is read than is wanted.
          const read = versions === undefined ? limit : (cachedSizes.find((count) => count >= limit) ?? limit)
          return Effect.map(
            newest(roomId, versions?.epoch, versions?.messages ?? 0, `${read} ${threadId ?? ""}`),
            (page) => {
              const { more, text } = lastItems(page, limit)
              return `"messages":[${text}],"more":${more}`
            }
          )
        },
        participants: (roomId, versions) => participants(roomId, versions?.epoch, versions?.people ?? 0, "")
      })
    })
  )
}
