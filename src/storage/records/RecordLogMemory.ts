// The records' log in memory, which any number of instances share. Every operation is one step, and claims run out by
// Effect's Clock. The bound is that of the stream, which `append` is given.
import { Clock, Context, Effect, Layer } from "effect"
import { abandonedMs, type LogEntry, type RecordLog, RecordStreamUnavailable } from "./RecordLog.ts"

const make = () => {
  /** In the order in which they were appended. */
  const unclaimed = new Map<string, LogEntry>()
  /** In the order of their claims. */
  const claimed = new Map<string, { readonly entry: LogEntry; readonly at: number }>()
  let appended = 0
  let lives = 1
  /** Ids are not used again after a loss. */
  let count = 0
  const state = () => ({ appended, waiting: unclaimed.size + claimed.size })

  const take = (entries: ReadonlyArray<LogEntry>, now: number) => {
    for (const entry of entries) {
      unclaimed.delete(entry.id)
      claimed.delete(entry.id)
      claimed.set(entry.id, { entry, at: now })
    }
    return entries
  }
  const firstOf = <A>(from: Iterable<A>, limit: number, isWanted: (one: A) => boolean) => {
    const found: Array<A> = []
    for (const one of from) {
      if (found.length === limit || !isWanted(one)) break
      found.push(one)
    }
    return found
  }

  const log: RecordLog = {
    append: (max, texts) =>
      Effect.suspend(() => {
        if (state().waiting + texts.length > max) return Effect.fail(new RecordStreamUnavailable({ reason: "full" }))
        for (const text of texts) {
          const id = `${++count}-0`
          unclaimed.set(id, { id, text })
        }
        appended += texts.length
        return Effect.succeed(state())
      }),
    claim: (what, limit) =>
      Effect.map(Clock.currentTimeMillis, (now) =>
        take(
          what === "new"
            ? firstOf(unclaimed.values(), limit, () => true)
            : firstOf(claimed.values(), limit, ({ at }) => at <= now - abandonedMs).map(({ entry }) => entry),
          now
        )
      ),
    done: (ids) => Effect.sync(() => ids.filter((id) => claimed.delete(id) || unclaimed.delete(id)).length),
    // No consumer is noted here.
    sweep: Effect.void,
    state: Effect.sync(() => ({ ...state(), life: String(lives) }))
  }
  return {
    log,
    /** Loses all that it acknowledged, and the counter, as a Redis does that comes back empty. */
    lose: () => {
      unclaimed.clear()
      claimed.clear()
      appended = 0
      lives++
    }
  }
}

export class RecordStreamState extends Context.Service<RecordStreamState, ReturnType<typeof make>>()(
  "hotpath/storage/records/RecordStreamState"
) {
  static readonly layer = Layer.sync(RecordStreamState, make)
}
