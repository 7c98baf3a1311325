// The services that faults are put in front of by name: what each fails with when its store is away, and what else its
// callers notice then. A fault is behind the port and in front of its store, so a call that hangs fails at the port's
// deadline (the settings' defaults).
import { Context, Effect, Option, Schema } from "effect"
import { RateLimiter, Redis } from "effect/persistence"
import { SqlError } from "effect/sql"
import { CatalogRedis, CatalogRedisUnavailable } from "../catalog/CatalogRedis.ts"
import { CatalogStore } from "../catalog/CatalogStore.ts"
import { LockCommands } from "../cluster/locks/LockCommands.ts"
import { MembershipCache } from "../cluster/rooms/MembershipCache.ts"
import { Presence } from "../cluster/rooms/Presence.ts"
import { BusUnavailable, RoomBus } from "../cluster/rooms/RoomBus.ts"
import { SharedCache } from "../cluster/SharedCache.ts"
import { StorageUnavailable } from "../domain/Room.ts"
import { Http, HttpTimeout, HttpUnreachable } from "../infra/http/Http.ts"
import { DatabaseUnavailable } from "../infra/postgres/Database.ts"
import { DatabaseHealth } from "../infra/postgres/DatabaseHealth.ts"
import { RedisHealth } from "../infra/redis/RedisHealth.ts"
import { NotSent, RedisUnavailable } from "../infra/redis/RedisUnavailable.ts"
import type { StoreHealth } from "../infra/StoreFault.ts"
import { FlushTarget } from "../storage/buffer/FlushTarget.ts"
import { BufferUnavailable, WriteBuffer } from "../storage/buffer/WriteBuffer.ts"
import { WriterLeases } from "../storage/buffer/WriterLeases.ts"
import { DeadLetters } from "../storage/DeadLetters.ts"
import { LockFences } from "../storage/LockFences.ts"
import { RecordStreamUnavailable } from "../storage/records/RecordLog.ts"
import { RecordStore } from "../storage/records/RecordStore.ts"
import { RecordStream } from "../storage/records/RecordStream.ts"
import { ContactStore } from "../storage/rooms/ContactStore.ts"
import { DocumentStore } from "../storage/rooms/DocumentStore.ts"
import { InviteStore } from "../storage/rooms/InviteStore.ts"
import { MemberStore } from "../storage/rooms/MemberStore.ts"
import { MessageStore } from "../storage/rooms/MessageStore.ts"
import { Outbox } from "../storage/rooms/Outbox.ts"
import { RoomPurge } from "../storage/rooms/RoomPurge.ts"
import { RoomStore } from "../storage/rooms/RoomStore.ts"
import { ThreadStore } from "../storage/rooms/ThreadStore.ts"
import { UnpublishedNotices } from "../storage/rooms/UnpublishedNotices.ts"
import type { FaultErrors, FaultSwitch } from "./FaultSwitch.ts"
import { type Around, intercept } from "./Intercept.ts"

export interface Port<I> {
  readonly tag: Context.Key<I, object>
  /** The context with the switch's fault in front of the service, if it has the service. */
  readonly apply: <A>(context: Context.Context<A>, faults: FaultSwitch) => Context.Context<A>
}

interface PortOptions<S> {
  readonly errors: FaultErrors
  /** Methods that are no calls of the store. */
  readonly passes?: ReadonlyArray<keyof S & string>
  /** Methods that wait while the store is away, and can't fail. */
  readonly waits?: ReadonlyArray<keyof S & string>
  /** What differs beyond that. */
  readonly adapt?: (guarded: S, faults: FaultSwitch) => S
}

export const port = <I, S extends object>(
  tag: Context.Key<I, S>,
  { adapt = (guarded) => guarded, errors, passes = [], waits = [] }: PortOptions<S>
): Port<I> => {
  const wrap = (service: S, faults: FaultSwitch): S => {
    const calls = faults.around(errors)
    const around: Around = (call) => {
      if (passes.some((method) => method === call.method)) return (effect) => effect
      if (waits.some((method) => method === call.method)) return (effect) => Effect.andThen(faults.back, effect)
      return calls(call)
    }
    return adapt(intercept(service, around), faults)
  }
  return {
    tag,
    apply: (context, faults) =>
      Option.match(Context.getOption(context, tag), {
        onNone: () => context,
        onSome: (service) => Context.makeUnsafe(new Map([...context.mapUnsafe, [tag.key, wrap(service, faults)]]))
      })
  }
}

/** REDIS_TIMEOUT and DATABASE_TIMEOUT. */
const redisMs = 500
const databaseMs = 5000

const reason = (outcome: "notDone" | "unknown") => (outcome === "notDone" ? "away" : "the answer was lost")
const causeOf = (outcome: "notDone" | "unknown") =>
  new Redis.RedisError({ cause: outcome === "notDone" ? new NotSent("away") : new Error("the answer was lost") })

const errorsOf = (ms: number, error: FaultErrors["error"]): FaultErrors => ({
  error,
  deadline: (call) => ({ ms, error: error("unknown", call) })
})

const bus = errorsOf(redisMs, (outcome) => new BusUnavailable({ cause: causeOf(outcome) }))
const room = errorsOf(databaseMs, (outcome) => new StorageUnavailable({ reason: reason(outcome) }))
const database = errorsOf(databaseMs, (outcome) => new DatabaseUnavailable({ reason: reason(outcome) }))

const HasTimeout = Schema.Struct({ timeoutMs: Schema.Finite })
const isRequest = Schema.is(HasTimeout)

const healthOf = (health: () => StoreHealth, faults: FaultSwitch) => (): StoreHealth =>
  faults.isAway() ? { state: "away", reason: "a fault is in front of it" } : health()

/**
 * What is in front of Redis. While it is away, locks exclude, and limits count, within their instance only.
 */
export const redis = [
  port(RoomBus, {
    errors: bus,
    passes: ["receive", "take", "takeSignals", "gap"],
    // A subscription: what is published while it is away does not arrive, and its return is a gap.
    adapt: (guarded, faults) => {
      let returns = faults.returns
      const take: typeof guarded.take = Effect.flatMap(guarded.take, (events) =>
        faults.isAway() ? take : Effect.succeed(events)
      )
      const gap = Effect.suspend(() => Effect.raceFirst(guarded.gap, faults.returned(returns + 1)))
      const noted = Effect.sync(() => {
        returns = faults.returns
      })
      return RoomBus.of({ ...guarded, take, gap: Effect.andThen(gap, noted) })
    }
  }),
  port(LockCommands, { errors: errorsOf(redisMs, causeOf) }),
  port(RateLimiter.RateLimiterStore, {
    errors: errorsOf(
      redisMs,
      (outcome) =>
        new RateLimiter.RateLimiterError({
          reason: new RateLimiter.RateLimitStoreError({ message: reason(outcome), cause: causeOf(outcome) })
        })
    )
  }),
  port(Presence, { errors: bus }),
  port(MembershipCache, { errors: bus }),
  port(SharedCache, {
    errors: errorsOf(redisMs, (outcome) => RedisUnavailable.from(causeOf(outcome)))
  }),
  port(CatalogRedis, {
    errors: errorsOf(redisMs, (outcome) => new CatalogRedisUnavailable({ cause: causeOf(outcome) }))
  }),
  port(RecordStream, {
    errors: errorsOf(redisMs, () => new RecordStreamUnavailable({ reason: "away" })),
    // As behind the port: after an append that failed there is no room until the state was read.
    adapt: (guarded, faults) => {
      let isOpen = true
      const opens = (next: boolean) => () =>
        Effect.sync(() => {
          isOpen = next
        })
      return RecordStream.of({
        ...guarded,
        append: (record) => Effect.tapError(guarded.append(record), opens(false)),
        state: Effect.tap(guarded.state, opens(true)),
        hasRoom: () => isOpen && !faults.isAway() && guarded.hasRoom()
      })
    }
  }),
  port(WriteBuffer, {
    errors: errorsOf(
      redisMs,
      (outcome) => new BufferUnavailable({ isSent: outcome === "unknown", cause: causeOf(outcome) })
    ),
    passes: ["onReturn"],
    adapt: (guarded, faults) =>
      WriteBuffer.of({
        ...guarded,
        onReturn: (listener) => Effect.andThen(guarded.onReturn(listener), faults.onReturn(listener))
      })
  }),
  port(RedisHealth, {
    errors: errorsOf(redisMs, causeOf),
    passes: ["unfenced", "listen", "onReconnected", "onResubscribed"],
    adapt: (guarded, faults) => ({
      ...guarded,
      health: healthOf(guarded.health, faults),
      onReconnected: (listener) => Effect.andThen(guarded.onReconnected(listener), faults.onReturn(listener)),
      onResubscribed: (listener) => Effect.andThen(guarded.onResubscribed(listener), faults.onReturn(listener))
    })
  })
] as const

/** What is in front of Postgres. */
export const postgres = [
  port(CatalogStore, { errors: database, waits: ["ready"] }),
  port(RecordStore, { errors: database, waits: ["ready"] }),
  port(DeadLetters, { errors: database }),
  port(UnpublishedNotices, { errors: database }),
  port(DatabaseHealth, {
    errors: database,
    adapt: (guarded, faults) => ({ ...guarded, health: healthOf(guarded.health, faults) })
  }),
  port(LockFences, {
    errors: errorsOf(
      databaseMs,
      (outcome) => new SqlError.SqlError({ reason: new SqlError.ConnectionError({ cause: reason(outcome) }) })
    )
  }),
  port(ContactStore, { errors: room }),
  port(DocumentStore, { errors: room }),
  port(FlushTarget, { errors: room }),
  port(InviteStore, { errors: room }),
  port(MemberStore, { errors: room }),
  port(MessageStore, { errors: room }),
  port(Outbox, { errors: room }),
  port(RoomPurge, { errors: room }),
  port(RoomStore, { errors: room }),
  port(ThreadStore, { errors: room }),
  port(WriterLeases, { errors: room })
] as const

/** What is in front of the integrations. */
export const upstream = [
  port(Http, {
    errors: {
      error: (outcome) =>
        new HttpUnreachable({ reason: outcome === "notDone" ? "connection refused" : "connection closed" }),
      deadline: ({ args: [request] }) => ({ ms: isRequest(request) ? request.timeoutMs : 0, error: new HttpTimeout() })
    }
  })
] as const
