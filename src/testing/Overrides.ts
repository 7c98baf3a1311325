// Replaces services by their tags while layers are built: every layer that depends on a replaced service gets the
// replacement, however deep it is in the graph, and the layers themselves stay as App.ts put them together.
import { Context, Effect, Layer } from "effect"

/** Makes the service that takes the place of `original`. */
export type Override = (original: unknown) => unknown

/**
 * A memo map under which every layer's output has its services replaced, by the keys of their tags. Overrides of one
 * key are applied in their order.
 */
export const makeOverrides = (overrides: ReadonlyArray<readonly [key: string, override: Override]>): Layer.MemoMap => {
  const inner = Layer.makeMemoMapUnsafe()
  // A layer may pass on what another one made: nothing is replaced twice.
  const replacements = new Map<string, Map<unknown, unknown>>()
  for (const [key] of overrides) replacements.set(key, new Map())

  const apply = <A>(context: Context.Context<A>): Context.Context<A> => {
    const services = new Map(context.mapUnsafe)
    for (const [key, known] of replacements) {
      const original = services.get(key)
      if (original === undefined) continue
      if (!known.has(original)) {
        const service = overrides.reduce((one, [name, override]) => (name === key ? override(one) : one), original)
        known.set(original, service).set(service, service)
      }
      services.set(key, known.get(original))
    }
    return Context.makeUnsafe(services)
  }

  const outer: Layer.MemoMap = {
    "~effect/Layer/MemoMap": "~effect/Layer/MemoMap",
    get: (layer, scope) => inner.get(layer, scope),
    getOrElseMemoize: (layer, scope, build) =>
      inner.getOrElseMemoize(layer, scope, (_inner, own) => Effect.map(build(outer, own), apply))
  }
  return outer
}
