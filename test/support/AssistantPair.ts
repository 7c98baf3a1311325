// Two instances over one Redis and one PostgreSQL, whose assistant asks a model of the test's.
import { assert } from "vitest"
import type { Role } from "../../src/domain/Room.ts"
import { admin, adminToken } from "./Admin.ts"
import { freshDatabase } from "./Databases.ts"
import { type Hotpath, startHotpath } from "./Hotpath.ts"
import { type Model, probe, startModel } from "./Model.ts"
import { patienceMs } from "./Patience.ts"
import { type RoomClient, roomClient } from "./RoomClient.ts"
import { type RunningServer, startRedis } from "./Servers.ts"
import { until } from "./Until.ts"

export interface AssistantPair {
  readonly instances: readonly [Hotpath, Hotpath]
  readonly redis: RunningServer
  readonly database: string
  readonly model: Model
  readonly client: (user: string, instance?: 0 | 1) => Promise<RoomClient>
  /** A room of the first one's, with all of them in it. */
  readonly room: (
    people: readonly [RoomClient, ...ReadonlyArray<RoomClient>],
    options?: { readonly autoAssign?: boolean; readonly role?: Role }
  ) => Promise<string>
  /** Defines an integration, known to both instances when this returns. */
  readonly define: (name: string, definition: object) => Promise<void>
  readonly metric: (instance: 0 | 1, name: string) => Promise<number>
  readonly stop: () => Promise<unknown>
}

const integrations = ["generate", "analyze", "assign"] as const

export const startAssistantPair = async (env: Readonly<Record<string, string>> = {}): Promise<AssistantPair> => {
  const [redis, database, model] = await Promise.all([startRedis(), freshDatabase(), startModel()])
  const all = {
    DATABASE_URL: database,
    REDIS_URL: redis.url,
    ADMIN_TOKEN: adminToken,
    REQUEST_RATE: "100000",
    REQUEST_BURST: "100000",
    ...env
  }
  const instances = await Promise.all([startHotpath(all), startHotpath(all)])
  const client: AssistantPair["client"] = async (user, instance = 0) =>
    roomClient(user, await instances[instance].client(user))

  const define: AssistantPair["define"] = async (name, definition) => {
    // A path that nobody asked for yet says which instance has the new definition.
    const mark = `/marked-${Math.random()}`
    const put = (url: string) =>
      admin(instances[0].http)("PUT", `/integrations/${name}`, { timeoutMs: patienceMs, ...definition, url })
    assert.strictEqual((await put(model.origin + mark)).status, 200)
    const both = await Promise.all([client("probe", 0), client("probe", 1)])
    const knows = (one: RoomClient, path: string) => async () => {
      const before = model.asked(path).length
      await one.ask("call", { integration: name, input: { text: probe, prompt: probe, message: { body: probe } } })
      return model.asked(path).length > before
    }
    for (const one of both) await until(knows(one, mark), `${name} to be known`)
    const url = (definition as { readonly url?: string }).url ?? `${model.origin}/${name}`
    assert.strictEqual((await put(url)).status, 200)
    const forgot = (one: RoomClient) => async () => !(await knows(one, mark)())
    for (const one of both) await until(forgot(one), `${name} to be known`)
    for (const one of both) await one.close()
  }
  await Promise.all(integrations.map((name) => define(name, {})))

  return {
    instances,
    redis,
    database,
    model: { ...model, asked: (path) => model.asked(path).filter((input) => !JSON.stringify(input).includes(probe)) },
    client,
    define,
    room: async ([owner, ...others], { autoAssign = false, role = "member" } = {}) => {
      const { roomId } = await owner.call("rooms.create", { title: "a room", autoAssign })
      await owner.call("rooms.join", { roomId })
      for (const other of others) {
        const { token } = await owner.call("rooms.invite", { roomId, role })
        await other.call("rooms.join", { roomId, invite: token })
      }
      return roomId
    },
    metric: async (instance, name) => {
      const text = await (await fetch(`${instances[instance].http}/metrics`)).text()
      const line = text.split("\n").find((one) => one.startsWith(`hotpath_${name} `))
      return Number(line?.split(" ").at(-1) ?? 0)
    },
    stop: async () => {
      await Promise.all(instances.map((instance) => instance.stop()))
      await Promise.all([redis.stop(), model.stop()])
    }
  }
}
