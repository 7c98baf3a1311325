// Lists and pages that many ask for: kept as the JSON they are answered with, by room and version. Redis says up to when a
// part of the room changed, and that is part of the key, so nobody is given a page that is older than a write they were
// told of, on whichever instance. Those who ask for the same at the same time share one read. Without Redis nobody can say
// whether a page still holds, and every read goes to the repository.
import { Cache, Context, Duration, Effect, Exit, Layer, Schema } from "effect"
import type { Versions } from "../cluster/RoomBus.ts"
import type { StorageUnavailable } from "../domain/Room.ts"
import { Metrics } from "../observability/Metrics.ts"
import { Repository } from "../storage/Repository.ts"

/** Characters of a page that is kept at the most. */
const maxKept = 262_144

// As JSON: what is asked for is in it as the client wrote it, and joined with any character two keys could be the same text.
const Key = Schema.fromJsonString(Schema.Tuple([Schema.String, Schema.String, Schema.Finite, Schema.String]))
const decodeKey = Schema.decodeSync(Key)

type Read = Effect.Effect<string, StorageUnavailable>

export class RoomReads extends Context.Service<
  RoomReads,
  {
    /** `[Thread, …]` as JSON. */
    readonly threads: (roomId: string, archived: boolean | undefined, versions: Versions | undefined) => Read
    /** The newest messages, as `"messages":[Message, …],"more":boolean`. */
    readonly newest: (
      roomId: string,
      threadId: string | undefined,
      limit: number,
      versions: Versions | undefined
    ) => Read
    /** `[participant, …]` as JSON. */
    readonly participants: (roomId: string, versions: Versions | undefined) => Read
  }
>()("hotpath/rooms/RoomReads") {
  static readonly layer = Layer.effect(
    RoomReads,
    Effect.gen(function* () {
      const repository = yield* Repository
      const { cache } = yield* Metrics

      const make = Effect.fnUntraced(function* (
        metrics: typeof cache.threads,
        capacity: number,
        ttl: Duration.Input,
        read: (roomId: string, rest: string) => Read
      ) {
        const parse = (key: string) => {
          const [roomId, , , rest] = decodeKey(key)
          return read(roomId, rest)
        }
        const kept = yield* Cache.makeWith(parse, {
          capacity,
          timeToLive: (exit) => (Exit.isSuccess(exit) && exit.value.length <= maxKept ? ttl : Duration.zero)
        })
        return (roomId: string, epoch: string | undefined, version: number, rest: string): Read => {
          if (epoch === undefined) {
            metrics.bypass.add()
            return read(roomId, rest)
          }
          const key = JSON.stringify([roomId, epoch, version, rest])
          return Effect.flatMap(Cache.has(kept, key), (isKept) => {
            ;(isKept ? metrics.hit : metrics.miss).add()
            return Cache.get(kept, key)
          })
        }
      })

      const threads = yield* make(cache.threads, 2000, "5 minutes", (roomId, rest) =>
        Effect.map(repository.threads(roomId, rest === "" ? undefined : rest === "true"), (found) =>
          JSON.stringify(found)
        )
      )
      const newest = yield* make(cache.messages, 1000, "2 minutes", (roomId, rest) => {
        // A limit is a number: the first blank ends it, whatever stands in what is asked for as a thread.
        const end = rest.indexOf(" ")
        const threadId = rest.slice(end + 1)
        return repository
          .messages(roomId, { limit: Number(rest.slice(0, end)), threadId: threadId === "" ? undefined : threadId })
          .pipe(
            Effect.map(({ messages, more }) => `"messages":${JSON.stringify(messages)},"more":${more}`),
            // Only a page that ends before a message can miss it.
            Effect.catchTag("MessageNotFound", () => Effect.succeed('"messages":[],"more":false'))
          )
      })
      const participants = yield* make(cache.participants, 500, "5 minutes", (roomId) =>
        Effect.map(repository.participants(roomId), (found) => JSON.stringify(found))
      )

      return RoomReads.of({
        threads: (roomId, archived, versions) =>
          threads(roomId, versions?.epoch, versions?.threads ?? 0, archived === undefined ? "" : String(archived)),
        newest: (roomId, threadId, limit, versions) =>
          newest(roomId, versions?.epoch, versions?.messages ?? 0, `${limit} ${threadId ?? ""}`),
        participants: (roomId, versions) => participants(roomId, versions?.epoch, versions?.people ?? 0, "")
      })
    })
  )
}
