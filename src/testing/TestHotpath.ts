// The whole service in one process and in memory, for tests: no server, no port, no file. `TestHotpath.layer` builds
// what App.ts builds, over memory and without the HTTP server; `TestHotpath.client` speaks the protocol with it.
import { Context, Effect, Layer } from "effect"
import type { CatalogContent } from "../catalog/CatalogStoreState.ts"
import type { Fault } from "./Fault.ts"
import type { GroupName } from "./Faults.ts"
import { sharedMemory } from "./SharedMemory.ts"
import type { Credentials } from "./TestClient.ts"
import { type InstanceOptions, makeInstance, type Services, type TestInstance } from "./TestInstance.ts"

export interface TestOptions extends InstanceOptions, CatalogContent {
  /** How many instances share the memory; 1 by default. */
  readonly instances?: number
}

export class TestHotpath extends Context.Service<
  TestHotpath,
  {
    readonly instances: readonly [TestInstance, ...ReadonlyArray<TestInstance>]
  }
>()("hotpath/testing/TestHotpath") {
  /** The service, and every service of its first instance. */
  static readonly layer = (options: TestOptions = {}): Layer.Layer<TestHotpath | Services, unknown> =>
    Layer.effectContext(
      Effect.gen(function* () {
        const shared = yield* Layer.build(Layer.fresh(sharedMemory(options)))
        const first = yield* makeInstance(options, shared)
        const count = (options.instances ?? 1) - 1
        const others = yield* Effect.forEach(Array.from({ length: count }), () => makeInstance(options, shared))
        return Context.add(first.context, TestHotpath, TestHotpath.of({ instances: [first, ...others] }))
      })
    )

  /** The instance of this number, from 0. */
  static readonly instance = (number: number) =>
    Effect.flatMap(TestHotpath, ({ instances }) => {
      const found = instances[number]
      return found === undefined
        ? Effect.die(new Error(`there is no instance ${number}: TestHotpath.layer({ instances: ${number + 1} })`))
        : Effect.succeed(found)
    })

  /** Switches a fault on in front of a group of services, of all instances or of one. `Faults.none` ends it. */
  static readonly fault = (group: GroupName, fault: Fault, instance?: number) =>
    Effect.flatMap(TestHotpath, ({ instances }) =>
      Effect.forEach(
        instances.filter((_, number) => instance === undefined || number === instance),
        ({ faults }) => faults[group].set(fault),
        { discard: true }
      )
    )

  /** Connects to an instance (the first, unless another is named) as this user, until the scope is closed. */
  static readonly client = (credentials: string | Credentials, instance = 0) =>
    Effect.flatMap(TestHotpath.instance(instance), ({ client }) => client(credentials))

  /** Asks an instance over HTTP, without a network: admin API, health, metrics. */
  static readonly http = (path: string, init?: RequestInit, instance = 0) =>
    Effect.flatMap(TestHotpath.instance(instance), ({ http }) => http(path, init))
}
