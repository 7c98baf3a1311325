// The buffered repository over memory, whose buffer and whose Postgres a test can take away and give back. Every call of
// theirs lets others go first a few times, so that operations under way together interleave.
import { Context, Effect, Layer } from "effect"
import { StorageUnavailable } from "../../src/domain/Room.ts"
import { Lifecycle } from "../../src/observability/Lifecycle.ts"
import { Metrics } from "../../src/observability/Metrics.ts"
import { Settings } from "../../src/Settings.ts"
import * as BufferedRepository from "../../src/storage/buffer/BufferedRepository.ts"
import { Durable } from "../../src/storage/buffer/Durable.ts"
import { Flusher } from "../../src/storage/buffer/Flusher.ts"
import * as WriteBufferMemory from "../../src/storage/buffer/memory/WriteBufferMemory.ts"
import { UnflushedWrites } from "../../src/storage/buffer/UnflushedWrites.ts"
import { BufferUnavailable, WriteBuffer } from "../../src/storage/buffer/WriteBuffer.ts"
import { WriteMode } from "../../src/storage/buffer/WriteMode.ts"
import { WriteRouting } from "../../src/storage/buffer/WriteRouting.ts"
import { WriterLeases } from "../../src/storage/buffer/WriterLeases.ts"
import * as RepositoryMemory from "../../src/storage/rooms/memory/RepositoryMemory.ts"
import { Repository } from "../../src/storage/rooms/Repository.ts"

/** What is away now. */
export interface Away {
  buffer: boolean
  durable: boolean
}

/** The same service, every operation of which fails while it is away, before anything happened. */
const failing = <S extends object, E>(service: S, isAway: () => boolean, error: () => E, pauses: () => number): S => {
  const guarded = <A, E2, R>(effect: Effect.Effect<A, E2, R>): Effect.Effect<A, E | E2, R> =>
    Effect.gen(function* () {
      for (let left = pauses(); left > 0; left--) yield* Effect.yieldNow
      if (isAway()) return yield* Effect.fail(error())
      return yield* effect
    })
  const wrapped = Object.entries(service).map(([name, operation]: [string, unknown]) => {
    if (Effect.isEffect(operation)) return [name, guarded(operation)]
    if (typeof operation !== "function" || name === "onReturn") return [name, operation]
    return [name, (...args: ReadonlyArray<unknown>) => guarded(Reflect.apply(operation, service, args))]
  })
  return Object.fromEntries(wrapped)
}

/** What instances have in common. */
export const makeShared = Effect.fnUntraced(function* (intervalMs: number) {
  const durable = Context.get(yield* Layer.build(Layer.fresh(RepositoryMemory.layer)), Repository)
  const holds = Context.get(yield* Layer.build(Layer.fresh(WriterLeases.layerMemory)), WriterLeases)
  return { durable, holds, ...(yield* WriteBufferMemory.make(intervalMs)) }
})
export type Shared = Effect.Success<ReturnType<typeof makeShared>>

/** `pauses`: how often the next call lets others go first. */
export const makeInstance = Effect.fnUntraced(function* (shared: Shared, pauses: () => number) {
  const away: Away = { buffer: false, durable: false }
  const notSent = () => new BufferUnavailable({ isSent: false, cause: "away" })
  const down = () => new StorageUnavailable({ reason: "away" })
  const ports = {
    buffer: failing(shared.buffer, () => away.buffer, notSent, pauses),
    durable: failing(shared.durable, () => away.durable, down, pauses),
    holds: failing(shared.holds, () => away.durable, down, pauses)
  }
  const Ports = Layer.mergeAll(
    Layer.succeed(WriteBuffer, ports.buffer),
    Layer.succeed(Durable, ports.durable),
    Layer.succeed(WriterLeases, ports.holds)
  )
  const context = yield* Layer.build(
    Layer.fresh(
      BufferedRepository.layer.pipe(
        Layer.provide(WriteRouting.layer),
        Layer.provideMerge(WriteMode.layer),
        Layer.provideMerge(Layer.mergeAll(Flusher.layer, UnflushedWrites.layer)),
        Layer.provide(Ports),
        Layer.provide(Layer.mergeAll(Lifecycle.layer, Metrics.layer)),
        Layer.provide(Settings.layer)
      )
    )
  )
  return {
    away,
    switched: shared.switched,
    /** What is there, whoever is away. */
    there: { buffer: shared.buffer, durable: shared.durable },
    ...ports,
    repository: Context.get(context, Repository),
    flusher: Context.get(context, Flusher)
  }
})
export type Buffered = Effect.Success<ReturnType<typeof makeInstance>>

export const makeBuffered = (intervalMs: number, pauses: () => number) =>
  Effect.flatMap(makeShared(intervalMs), (shared) => makeInstance(shared, pauses))
