// One instance of the service: a build of App.ts's Core over the memory that instances share.
import { Clock, ConfigProvider, Context, Effect, Exit, Layer, Logger, Metric, Scope } from "effect"
import { HttpEffect, HttpRouter } from "effect/http"
import { Core, Routes } from "../App.ts"
import { AdminToken } from "../admin/AdminGuard.ts"
import { Connections } from "../gateway/connection/Connections.ts"
import { Lifecycle } from "../observability/Lifecycle.ts"
import { Metrics } from "../observability/Metrics.ts"
import { Settings } from "../Settings.ts"
import * as Faults from "./Faults.ts"
import { MemoryPorts } from "./MemoryPorts.ts"
import { makeOverrides, type Override } from "./Overrides.ts"
import type { SharedMemory } from "./SharedMemory.ts"
import { type ConnectRefused, type Credentials, connect, type TestClient } from "./TestClient.ts"
import * as Upstream from "./Upstream.ts"

export interface InstanceOptions {
  /** Answers what calls send to integrations; by default status 200 and `{}`. */
  readonly upstream?: Upstream.Upstream
  /** By name, as in the environment, the secrets of integrations among them. */
  readonly settings?: Readonly<Record<string, string | number>>
  /** Takes the place of the services that it provides, wherever they are used. */
  readonly replace?: Layer.Layer<never, unknown>
  /** In front of what is in Redis, in Postgres, of the integrations, or of any service: `at: [Faults.at(…)]`. */
  readonly faults?: Faults.GroupFaults & { readonly at?: ReadonlyArray<Faults.FaultOverride> }
}

const instanceLayer = ({ settings = {}, upstream }: InstanceOptions) =>
  Routes.pipe(
    Layer.provideMerge(Core),
    Layer.provideMerge(Layer.mergeAll(MemoryPorts, Upstream.layer(upstream))),
    Layer.provideMerge(Layer.mergeAll(Metrics.layer, Lifecycle.layer, AdminToken.layer)),
    Layer.provideMerge(Settings.layer),
    Layer.provide(
      ConfigProvider.layer(
        ConfigProvider.fromUnknown(
          Object.fromEntries(Object.entries(settings).map(([name, value]) => [name, String(value)]))
        )
      )
    ),
    Layer.provideMerge(Logger.layer([]))
  )

/** Every service of an instance: a test may use them beside the client. */
export type Services = Layer.Success<ReturnType<typeof instanceLayer>> | SharedMemory

export interface TestInstance {
  readonly context: Context.Context<Services>
  /** Switch faults on and off while a test runs. */
  readonly faults: Faults.GroupSwitches
  /** Connects as this user, or with a token, until the scope is closed. */
  readonly client: (credentials: string | Credentials) => Effect.Effect<TestClient, ConnectRefused, Scope.Scope>
  /** Answers an HTTP request, as the server would: admin API, health, metrics. */
  readonly http: (path: string, init?: RequestInit) => Effect.Effect<Response>
  /** An orderly stop: clients are closed, what is under way is completed. */
  readonly stop: Effect.Effect<void>
}

/** The services that a replacement provides, by the keys of their tags. */
const overridesOf = (services: Context.Context<never>) =>
  [...services.mapUnsafe].map(([key, service]): readonly [string, Override] => [key, () => service])

export const makeInstance = Effect.fnUntraced(function* (
  options: InstanceOptions,
  shared: Context.Context<SharedMemory>
) {
  const scope = yield* Effect.acquireRelease(Scope.make(), (own) => Scope.close(own, Exit.void))
  const replacement =
    options.replace === undefined ? Context.empty() : yield* Layer.buildWithScope(options.replace, scope)
  const { overrides, switches } = yield* Scope.provide(Faults.makeOverrides(options.faults), scope)
  // Effect's default registry is the process's: instances would show each other's metrics.
  const metrics = Context.make(Metric.MetricRegistry, new Map())
  const own = yield* Layer.buildWithMemoMap(
    Layer.provide(instanceLayer(options), Layer.succeedContext(shared)),
    makeOverrides([...overridesOf(replacement), ...overrides, ...(options.faults?.at ?? [])]),
    scope
  ).pipe(Effect.provideContext(metrics))
  const context = Context.merge(shared, own).pipe(Context.merge(metrics))
  yield* Context.get(context, Lifecycle).ready
  yield* Scope.addFinalizer(scope, Context.get(context, Connections).drain)
  const handler = HttpEffect.toWebHandler(Context.get(context, HttpRouter.HttpRouter).asHttpEffect())
  const instance: TestInstance = {
    context,
    faults: switches,
    client: (credentials) =>
      Effect.provideContext(connect(typeof credentials === "string" ? { user: credentials } : credentials), context),
    http: (path, init) =>
      Effect.flatMap(Clock.Clock, (clock) =>
        Effect.promise(() =>
          handler(new Request(new URL(path, "http://127.0.0.1:8080"), init), Context.add(metrics, Clock.Clock, clock))
        )
      ),
    stop: Scope.close(scope, Exit.void)
  }
  return instance
})
