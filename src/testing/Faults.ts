// Faults for tests: `Faults.away`, `Faults.answerLost({ seed: 1, every: 3 })` and others (Fault.ts), in front of any
// service by its tag (`inFront`), and of all that hotpath has in one store (`groups`).
import { Context, Effect, Layer, type Scope } from "effect"
import { type Fault, none } from "./Fault.ts"
import { type Port, port, postgres, redis, upstream } from "./FaultPorts.ts"
import { FaultSwitch } from "./FaultSwitch.ts"
import type { Intercepted } from "./Intercept.ts"
import { makeOverrides as makeMemoMap } from "./Overrides.ts"

export * from "./Fault.ts"
export { FaultSwitch } from "./FaultSwitch.ts"
export { type Around, type Intercepted, intercept } from "./Intercept.ts"

/** The services in front of which a fault is put together, because one store or one network is behind them. */
export const groups = { redis, postgres, upstream }

export type GroupName = keyof typeof groups

/** Services whose errors are known, by their tags' identifiers. */
export type Known = (typeof groups)[GroupName][number]["tag"]["Identifier"]

/** What the methods of a service fail with. */
export type ErrorOf<S> = {
  [K in keyof S]: S[K] extends Effect.Effect<unknown, infer E, unknown>
    ? E
    : S[K] extends (...args: infer _Args) => Effect.Effect<unknown, infer E, unknown>
      ? E
      : never
}[keyof S]

export interface InFrontOptions<E> {
  /** What a call fails with. `notDone`: nothing happened. `unknown`: it may have been done, and the answer is lost. */
  readonly error: (outcome: "notDone" | "unknown", call: Intercepted) => E
  /** The service's deadline of a call, and what the call fails with then. Without one it hangs until interrupted. */
  readonly deadline?: (call: Intercepted) => { readonly ms: number; readonly error: E }
}

/** A fault, of which every build of the service has its own, or a switch, which all of them have in common. */
export type FaultOrSwitch = Fault | FaultSwitch

export const makeSwitch = (fault?: Fault): FaultSwitch => new FaultSwitch(fault)

const toSwitch = (fault: FaultOrSwitch): FaultSwitch => (fault instanceof FaultSwitch ? fault : new FaultSwitch(fault))

const everyPort: ReadonlyArray<Port<unknown>> = [...redis, ...postgres, ...upstream]

const portOf = <I, S extends object, E>(
  tag: Context.Key<I, S>,
  errors: InFrontOptions<E> | undefined
): Port<unknown> => {
  if (errors !== undefined) return port(tag, { errors })
  const found = everyPort.find((one) => one.tag.key === tag.key)
  if (found === undefined) throw new Error(`what ${tag.key} fails with is not known: pass \`error\``)
  return found
}

const apply = <A>(context: Context.Context<A>, ports: ReadonlyArray<Port<unknown>>, faults: FaultSwitch) =>
  ports.reduce((applied, one) => one.apply(applied, faults), context)

/** Replaces a service while layers are built, by its tag's key (Overrides.ts). */
export type FaultOverride = readonly [key: string, override: (original: unknown) => unknown]

const toOverride = (one: Port<unknown>, faults: FaultSwitch): FaultOverride => [
  one.tag.key,
  (original) => one.apply(Context.makeUnsafe(new Map([[one.tag.key, original]])), faults).mapUnsafe.get(one.tag.key)
]

/** Puts the fault in front of all of these services that the layer provides. */
const inFrontOfPorts =
  (ports: () => ReadonlyArray<Port<unknown>>, fault: FaultOrSwitch) =>
  <A, E, R>(layer: Layer.Layer<A, E, R>): Layer.Layer<A, E, R> =>
    Layer.flatMap(layer, (context) =>
      Layer.effectContext(
        Effect.suspend(() => {
          const faults = toSwitch(fault)
          return Effect.as(Effect.forkScoped(faults.watch), apply(context, ports(), faults))
        })
      )
    )

type Transformer<I> = <A, E, R>(layer: Layer.Layer<A | I, E, R>) => Layer.Layer<A | I, E, R>

interface InFront {
  <I extends Known, S extends object>(tag: Context.Key<I, S>, fault: FaultOrSwitch): Transformer<I>
  <I, S extends object>(
    tag: Context.Key<I, S>,
    fault: FaultOrSwitch,
    options: InFrontOptions<ErrorOf<S>>
  ): Transformer<I>
}

/**
 * Puts the fault in front of a service that a layer provides: `StoresMemory.layer.pipe(Faults.inFront(…))`. What a
 * service of hotpath fails with is known for its stores and for Http; for another one it is passed as `error`.
 */
export const inFront: InFront = <I, S extends object>(
  tag: Context.Key<I, S>,
  fault: FaultOrSwitch,
  options?: InFrontOptions<unknown>
) => inFrontOfPorts(() => [portOf(tag, options)], fault)

interface Inside {
  (
    tag: Context.Key<Known, object>,
    fault: FaultOrSwitch
  ): <A, E, R>(layer: Layer.Layer<A, E, R>) => Layer.Layer<A, E, R>
  <I, S extends object>(
    tag: Context.Key<I, S>,
    fault: FaultOrSwitch,
    options: InFrontOptions<ErrorOf<S>>
  ): <A, E, R>(layer: Layer.Layer<A, E, R>) => Layer.Layer<A, E, R>
}

/**
 * Puts the fault in front of a service that a layer is made of, also if it does not provide it:
 * `Messages.layerTest.pipe(Faults.inside(MessageStore, …))`. What the layer is made of is built for it alone. A service
 * made by `Layer.succeed` can't be reached; then the layer does not build.
 */
export const inside: Inside =
  <I, S extends object>(tag: Context.Key<I, S>, fault: FaultOrSwitch, options?: InFrontOptions<unknown>) =>
  <A, E, R>(layer: Layer.Layer<A, E, R>): Layer.Layer<A, E, R> =>
    Layer.effectContext(
      Effect.gen(function* () {
        const faults = toSwitch(fault)
        yield* Effect.forkScoped(faults.watch)
        const [key, override] = toOverride(portOf(tag, options), faults)
        let isMet = false
        const noted = (original: unknown) => {
          isMet = true
          return override(original)
        }
        const context = yield* Layer.buildWithMemoMap(layer, makeMemoMap([[key, noted]]), yield* Effect.scope)
        // A fault that is nowhere would let a test pass that shows nothing.
        return isMet ? context : yield* Effect.die(new Error(`the layer is not made of ${key}, or by Layer.succeed`))
      })
    )

/** Puts the fault in front of each service of the group that a layer provides. */
export const inFrontOf = (group: GroupName, fault: FaultOrSwitch) => inFrontOfPorts(() => groups[group], fault)

interface At {
  <I extends Known, S extends object>(tag: Context.Key<I, S>, fault: FaultOrSwitch): FaultOverride
  <I, S extends object>(
    tag: Context.Key<I, S>,
    fault: FaultOrSwitch,
    options: InFrontOptions<ErrorOf<S>>
  ): FaultOverride
}

/** As `inFront`, for `TestHotpath.layer({ faults: { at: [Faults.at(MessageStore, …)] } })`. */
export const at: At = <I, S extends object>(
  tag: Context.Key<I, S>,
  fault: FaultOrSwitch,
  options?: InFrontOptions<unknown>
) => toOverride(portOf(tag, options), toSwitch(fault))

/** The faults of one instance, by group. */
export type GroupFaults = { readonly [G in GroupName]?: FaultOrSwitch }
export type GroupSwitches = { readonly [G in GroupName]: FaultSwitch }

/** A switch for each group, and what puts them in front of an instance's services. */
export const makeOverrides = (
  faults: GroupFaults = {}
): Effect.Effect<
  { readonly switches: GroupSwitches; readonly overrides: ReadonlyArray<FaultOverride> },
  never,
  Scope.Scope
> =>
  Effect.gen(function* () {
    const switches: GroupSwitches = {
      redis: toSwitch(faults.redis ?? none),
      postgres: toSwitch(faults.postgres ?? none),
      upstream: toSwitch(faults.upstream ?? none)
    }
    for (const one of Object.values(switches)) yield* Effect.forkScoped(one.watch)
    const of = (group: GroupName) => groups[group].map((one) => toOverride(one, switches[group]))
    return { switches, overrides: [...of("redis"), ...of("postgres"), ...of("upstream")] }
  })
