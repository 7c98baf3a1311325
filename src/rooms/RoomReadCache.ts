// Caches the lists and pages that many clients read, as the JSON of the reply, by room and version. Redis counts the
// changes of each part of a room, and the count is part of the key: no client gets a page that is older than a write
// it was notified of, on any instance. Requests for the same page at the same time share one read. Without Redis the
// version is unknown, and every read goes to Postgres.
import { Cache, Context, Duration, Effect, Layer } from "effect"
import { LRUCache } from "lru-cache"
import type { Versions } from "../cluster/rooms/RoomBus.ts"
import type { Thread } from "../domain/Message.ts"
import type { StorageUnavailable } from "../domain/Room.ts"
import { Metrics } from "../observability/Metrics.ts"
import { EncodedJson } from "../protocol/JsonRpc.ts"
import { listLimits } from "../storage/rooms/ListPart.ts"
import { MemberStore } from "../storage/rooms/MemberStore.ts"
import { MessageStore } from "../storage/rooms/MessageStore.ts"
import { ThreadStore } from "../storage/rooms/ThreadStore.ts"
import {
  bytesOf,
  firstOf,
  type JsonPage,
  type ListParams,
  lastItems,
  lastOf,
  listed,
  pageBytes,
  type Reply,
  toQuery
} from "./Listing.ts"

/** Bytes of all cached pages in memory: beyond it the least recently used ones are dropped. */
const maxBytes = 33_554_432
/** Reads at a time. */
const maxFlights = 10_000
/** Messages in the cached pages: every page of newest messages is cut out of one of them. */
const cachedSizes = [50, 100] as const

const keyOfThread = ({ createdAt, threadId }: Thread) => [createdAt, threadId] as const

type Read<A> = Effect.Effect<A, StorageUnavailable>

export class RoomReadCache extends Context.Service<
  RoomReadCache,
  {
    readonly threads: (
      roomId: string,
      archived: boolean | undefined,
      versions: Versions | undefined,
      params: ListParams
    ) => Read<Reply<"threads.list">>
    readonly newest: (
      roomId: string,
      threadId: string | undefined,
      limit: number,
      versions: Versions | undefined
    ) => Read<JsonPage>
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

      /** `part`: whose version counts. `Which`: one of the room's pages, by what it is read with. */
      const make = Effect.fnUntraced(function* <Which extends object>(
        name: "messages" | "threads" | "participants",
        part: Exclude<keyof Versions, "epoch">,
        lifetime: Duration.Input,
        read: (roomId: string, which: Which) => Read<JsonPage>
      ) {
        const metrics = cache[name]
        const ttl = Duration.toMillis(lifetime)
        // One read per key at a time; its page goes to `pages`.
        const flights = yield* Cache.makeWith(
          ({ key, roomId, which }: { readonly key: string; readonly roomId: string; readonly which: Which }) =>
            Effect.map(read(roomId, which), (page) => {
              // The versions of its key may be newer than what it was read from.
              if (page.isDirect !== true) pages.set(key, page, { ttl })
              return page
            }),
          { capacity: maxFlights, timeToLive: () => Duration.zero }
        )
        return (roomId: string, versions: Versions | undefined, which: Which): Read<JsonPage> => {
          if (versions === undefined) {
            metrics.bypass.add()
            return read(roomId, which)
          }
          // As JSON: it contains text of the client, and joined with any character two keys could be the same text.
          const key = JSON.stringify([name, roomId, versions.epoch, versions[part], which])
          const found = pages.get(key)
          if (found !== undefined) {
            metrics.hit.add()
            return Effect.succeed(found)
          }
          metrics.miss.add()
          return Cache.get(flights, { key, roomId, which })
        }
      })

      const threadsWith = (roomId: string, archived: boolean | undefined, params: ListParams) =>
        Effect.map(threads.list(roomId, archived, toQuery(params)), (found) =>
          listed("threads.list", found, params, keyOfThread)
        )
      // A page with the whole reply as its text.
      const firstThreads = yield* make(
        "threads",
        "threads",
        "5 minutes",
        (roomId, { archived }: { readonly archived: boolean | undefined }) =>
          Effect.map(threadsWith(roomId, archived, {}), ({ text }): JsonPage => ({ text, starts: [], more: false }))
      )
      const newest = yield* make(
        "messages",
        "messages",
        "2 minutes",
        (roomId, { limit, threadId }: { readonly limit: number; readonly threadId: string | undefined }) =>
          messages.page(roomId, { limit, threadId, maxBytes: pageBytes }).pipe(
            Effect.map(
              ({ isDirect = false, messages, more }): JsonPage => ({
                ...lastOf(messages, limit, more),
                isDirect
              })
            ),
            // Only a page that ends before a message can fail with it.
            Effect.catchTag("MessageNotFound", () => Effect.succeed<JsonPage>(lastOf([], 0, false)))
          )
      )
      const participants = yield* make("participants", "people", "5 minutes", (roomId) =>
        Effect.map(members.list(roomId, { limit: listLimits.participants + 1, maxBytes: pageBytes }), (found) =>
          firstOf(found, listLimits.participants)
        )
      )

      return RoomReadCache.of({
        threads: (roomId, archived, versions, params) =>
          params.cursor === undefined && params.limit === undefined
            ? Effect.map(firstThreads(roomId, versions, { archived }), ({ text }) => new EncodedJson(text))
            : threadsWith(roomId, archived, params),
        newest: (roomId, threadId, limit, versions) => {
          // Without versions nothing is cached, so no more is read than is wanted.
          const size = versions === undefined ? limit : (cachedSizes.find((count) => count >= limit) ?? limit)
          return Effect.map(newest(roomId, versions, { limit: size, threadId }), (page) => lastItems(page, limit))
        },
        participants: (roomId, versions) => participants(roomId, versions, {})
      })
    })
  )
}
