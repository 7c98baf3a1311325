// The service as a suite drives it: in this process over memory, or as processes over real servers. The default run has
// the first; a soak run has both.
import { type Duration, Effect, Exit, Layer, Scope } from "effect"
import { PrometheusMetrics } from "effect/observability"
import { MemoryRooms } from "../../src/storage/rooms/memory/MemoryRooms.ts"
import * as Faults from "../../src/testing/Faults.ts"
import { TestHotpath } from "../../src/testing/TestHotpath.ts"
import { adminToken } from "./Admin.ts"
import type { Client } from "./Client.ts"
import { freshDatabase, query } from "./Databases.ts"
import { type Handler, inMemory, type OtherEnd, overSockets } from "./Exchanges.ts"
import { type Hotpath, startHotpath } from "./Hotpath.ts"
import { liftedLimits } from "./LiftedLimits.ts"
import { asClient } from "./MemoryClient.ts"
import { type RunningServer, startRedis } from "./Servers.ts"
import { isSoak } from "./Soak.ts"

export interface Running {
  /** A connection of the user on an instance, the first unless another is named. */
  readonly client: (user: string, instance?: number) => Promise<Client>
  readonly http: (path: string, init?: RequestInit, instance?: number) => Promise<Response>
  /** As Prometheus reads them. */
  readonly metrics: (instance?: number) => Promise<string>
  readonly integrations: OtherEnd
  /** Redis goes away, and comes back. */
  readonly redisAway: () => Promise<void>
  readonly redisBack: () => Promise<void>
  /** An orderly stop of one instance. */
  readonly stopInstance: (instance: number) => Promise<unknown>
  /** How many messages of the kind are stored, behind what waits to be stored. */
  readonly stored: (roomId: string, kind: string) => Promise<number>
  readonly stop: () => Promise<unknown>
}

export interface Processes extends Running {
  readonly hotpaths: ReadonlyArray<Hotpath>
  readonly redis: RunningServer
  readonly database: string
}

export interface RunOptions {
  readonly settings?: Readonly<Record<string, string>>
  readonly instances?: number
  readonly handler?: Handler
  /** How long stores in memory take, which otherwise answer at once. */
  readonly storeDelay?: Duration.Input
  /** Definitions that are there from the start, as plain SQL leaves them. */
  readonly integrations?: (origin: string) => Readonly<Record<string, unknown>>
  /** The users' configurations. */
  readonly users?: Readonly<Record<string, Readonly<Record<string, unknown>>>>
}

const noDefinitions = () => ({})
const none: Handler = (exchange) => exchange.begin("application/json").end("{}")
const usual = { ADMIN_TOKEN: adminToken, ...liftedLimits }

export const startInMemory = async ({
  handler = none,
  instances = 1,
  integrations: definitions = noDefinitions,
  settings = {},
  storeDelay,
  users = {}
}: RunOptions): Promise<Running> => {
  const scope = Effect.runSync(Scope.make())
  const integrations = inMemory(handler)
  const layer = TestHotpath.layer({
    instances,
    integrations: definitions(integrations.origin),
    users,
    settings: { ...usual, ...settings },
    ...(storeDelay !== undefined && { faults: { postgres: Faults.slow(storeDelay) } }),
    upstream: integrations.upstream
  })
  const context = await Effect.runPromise(Layer.buildWithScope(layer, scope))
  const run = <A, E>(effect: Effect.Effect<A, E, TestHotpath | MemoryRooms | Scope.Scope>) =>
    Effect.runPromise(Scope.provide(Effect.provideContext(effect, context), scope))
  return {
    client: (user, instance) => run(Effect.map(TestHotpath.client(user, instance), asClient)),
    http: (path, init, instance) => run(TestHotpath.http(path, init, instance)),
    metrics: (instance = 0) =>
      run(
        Effect.flatMap(TestHotpath.instance(instance), ({ context }) =>
          Effect.provideContext(PrometheusMetrics.format(), context)
        )
      ),
    integrations,
    redisAway: () => run(TestHotpath.fault("redis", Faults.away)),
    redisBack: () => run(TestHotpath.fault("redis", Faults.none)),
    stopInstance: (instance) => run(Effect.flatMap(TestHotpath.instance(instance), ({ stop }) => stop)),
    stored: (roomId, kind) =>
      run(
        Effect.map(
          MemoryRooms,
          ({ rooms }) => rooms.get(roomId)?.messages.filter(({ message }) => message.kind === kind).length ?? 0
        )
      ),
    stop: () => Effect.runPromise(Scope.close(scope, Exit.void))
  }
}

export const startProcesses = async ({
  handler = none,
  instances = 1,
  integrations: definitions = noDefinitions,
  settings = {},
  users = {}
}: RunOptions): Promise<Processes> => {
  const [redis, database, integrations] = await Promise.all([startRedis(), freshDatabase(), overSockets(handler)])
  const all = { DATABASE_URL: database, REDIS_URL: redis.url, ...usual, ...settings }
  const hotpaths = await Promise.all(Array.from({ length: instances }, () => startHotpath(all)))
  for (const [name, definition] of Object.entries(definitions(integrations.origin))) {
    const values = [name, JSON.stringify(definition)]
    await query(
      database,
      `INSERT INTO integrations (name, definition) VALUES ($1, $2::text::json)
        ON CONFLICT (name) DO UPDATE SET definition = excluded.definition`,
      values
    )
  }
  for (const [user, config] of Object.entries(users)) {
    const values = [user, JSON.stringify(config)]
    await query(database, "INSERT INTO user_configs (user_id, config) VALUES ($1, $2::text::jsonb)", values)
  }
  const find = (instance: number) => {
    const found = hotpaths[instance]
    if (found === undefined) throw new Error(`there is no instance ${instance}`)
    return found
  }
  return {
    hotpaths,
    redis,
    database,
    integrations,
    client: (user, instance = 0) => find(instance).client(user),
    http: (path, init, instance = 0) => fetch(find(instance).http + path, init),
    metrics: async (instance = 0) => (await fetch(`${find(instance).http}/metrics`)).text(),
    redisAway: async () => {
      await redis.kill()
    },
    redisBack: async () => {
      await redis.start()
    },
    stopInstance: (instance) => find(instance).stop(),
    stored: async (roomId, kind) =>
      (await query(database, "SELECT 1 FROM messages WHERE room_id = $1 AND kind = $2", [roomId, kind])).length,
    stop: async () => {
      await Promise.all(hotpaths.map((hotpath) => hotpath.stop()))
      await Promise.all([redis.stop(), integrations.stop()])
    }
  }
}

/** What a suite that needs no servers runs over. */
export const backings: ReadonlyArray<readonly [name: string, start: (options: RunOptions) => Promise<Running>]> = [
  ["memory", startInMemory],
  ...(isSoak ? [["processes", startProcesses] as const] : [])
]

/** The value of a metric; 0 if there is none. */
export const metricOf = async (running: Running, name: string, instance = 0): Promise<number> => {
  const text = await running.metrics(instance)
  const line = text.split("\n").find((one) => one.startsWith(`hotpath_${name} `))
  return Number(line?.split(" ").at(-1) ?? 0)
}

/** The service's counters, by name. */
export const countersOf = async ({ http }: Pick<Running, "http">): Promise<Record<string, number>> =>
  (await (await http("/metrics", { headers: { accept: "application/json" } })).json()) as Record<string, number>
