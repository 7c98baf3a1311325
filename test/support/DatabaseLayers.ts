// The databases that contract suites run over, with nothing in them, and two instances of a service over what they share.
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Context, Duration, Effect, Layer, Redacted } from "effect"
import * as PostgresEmbedded from "../../src/infra/postgres/PostgresEmbedded.ts"
import * as Postgres from "../../src/infra/postgres/PostgresServer.ts"
import { freshDatabase } from "./Databases.ts"

const timeout = Duration.seconds(20)

export const server = Layer.unwrap(
  Effect.map(
    Effect.promise(() => freshDatabase()),
    (url) => Postgres.layer({ url: Redacted.make(url), timeout })
  )
)

export const embedded = PostgresEmbedded.layer({ dataDir: "memory://", timeout }).pipe(
  Layer.provide(NodeServices.layer)
)

/** Two instances of the service over what they share, as the service `pair`. */
export const pairOf = <P, I, S, E, R, E2>(
  pair: Context.Key<P, { readonly a: S; readonly b: S }>,
  tag: Context.Key<I, S>,
  instance: Layer.Layer<I, E, R>,
  shared: Layer.Layer<R, E2>
) =>
  Layer.effect(
    pair,
    Effect.gen(function* () {
      const one = Effect.map(Layer.build(Layer.fresh(instance)), (built) => Context.get(built, tag))
      return { a: yield* one, b: yield* one }
    })
  ).pipe(Layer.provide(shared))
