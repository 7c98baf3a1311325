// The whole service in one process and in memory, for tests: no server, no port, no file. `TestHotpath.layer` builds
// what App.ts builds, over ports in memory and without the HTTP server; `TestHotpath.client` speaks the protocol with
// it.
import { ConfigProvider, Context, Effect, Layer, Logger, Scope } from "effect"
import { HttpEffect, HttpRouter } from "effect/http"
import { Core, Routes } from "../App.ts"
import { AdminToken } from "../admin/AdminGuard.ts"
import { Connections } from "../gateway/connection/Connections.ts"
import { Lifecycle } from "../observability/Lifecycle.ts"
import { Metrics } from "../observability/Metrics.ts"
import { Settings } from "../Settings.ts"
import { type Content, memoryPorts } from "./MemoryPorts.ts"
import { makeOverrides, type Override } from "./Overrides.ts"
import { type ConnectRefused, type Credentials, connect, type TestClient } from "./TestClient.ts"
import type { Upstream } from "./Upstream.ts"

export interface TestOptions extends Content {
  /** Answers integration calls; by default every one with status 200 and `{}`. */
  readonly upstream?: Upstream
  /** By name, as in the environment, the secrets of integrations among them. */
  readonly settings?: Readonly<Record<string, string | number>>
  /** Takes the place of the services that it provides, wherever they are used. */
  readonly replace?: Layer.Layer<never, unknown>
  /** How many instances share the stores; 1 by default. */
  readonly instances?: number
}

/** What an instance is made of: the services that a test may use besides the client. */
export type Services = Layer.Success<ReturnType<typeof instanceLayer>>

const instanceLayer = (options: TestOptions) =>
  Routes.pipe(
    Layer.provideMerge(Core),
    Layer.provideMerge(memoryPorts(options, options.upstream)),
    Layer.provideMerge(Layer.mergeAll(Metrics.layer, Lifecycle.layer, AdminToken.layer)),
    Layer.provideMerge(Settings.layer),
    Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown(environment(options)))),
    Layer.provideMerge(Logger.layer([]))
  )

const environment = ({ settings = {} }: TestOptions) =>
  Object.fromEntries(Object.entries(settings).map(([name, value]) => [name, String(value)]))

/** The services that a replacement provides, by the keys of their tags. */
const overridesOf = (services: Context.Context<never>) =>
  [...services.mapUnsafe].map(([key, service]): readonly [string, Override] => [key, () => service])

export interface TestInstance {
  readonly context: Context.Context<Services>
  readonly client: (credentials: string | Credentials) => Effect.Effect<TestClient, ConnectRefused, Scope.Scope>
  /** Answers an HTTP request, as the server would: admin API, health, metrics. */
  readonly http: (path: string, init?: RequestInit) => Effect.Effect<Response>
}

const makeInstance = Effect.fnUntraced(function* (options: TestOptions) {
  const replacement = options.replace === undefined ? Context.empty() : yield* Layer.build(options.replace)
  const scope = yield* Scope.Scope
  const context = yield* Layer.buildWithMemoMap(instanceLayer(options), makeOverrides(overridesOf(replacement)), scope)
  const lifecycle = Context.get(context, Lifecycle)
  yield* lifecycle.ready
  yield* Effect.addFinalizer(() => Context.get(context, Connections).drain)
  const handler = HttpEffect.toWebHandler(Context.get(context, HttpRouter.HttpRouter).asHttpEffect())
  const instance: TestInstance = {
    context,
    client: (credentials) =>
      Effect.provideContext(connect(typeof credentials === "string" ? { user: credentials } : credentials), context),
    http: (path, init) => Effect.promise(() => handler(new Request(new URL(path, "http://127.0.0.1:8080"), init)))
  }
  return instance
})

export class TestHotpath extends Context.Service<
  TestHotpath,
  { readonly instances: readonly [TestInstance, ...Array<TestInstance>] }
>()("hotpath/testing/TestHotpath") {
  /** The service, and all services of its first instance. */
  static readonly layer = (options: TestOptions = {}) =>
    Layer.effectContext(
      Effect.map(makeInstance(options), (first) =>
        Context.add(first.context, TestHotpath, TestHotpath.of({ instances: [first] }))
      )
    )

  /** Connects as this user, until the scope is closed. */
  static readonly client = (credentials: string | Credentials) =>
    Effect.flatMap(TestHotpath, ({ instances: [first] }) => first.client(credentials))

  static readonly http = (path: string, init?: RequestInit) =>
    Effect.flatMap(TestHotpath, ({ instances: [first] }) => first.http(path, init))
}
