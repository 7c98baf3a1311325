// Two instances whose assistant asks a model of the test's.
import { assert } from "vitest"
import type { Role } from "../../src/domain/Room.ts"
import { admin } from "./Admin.ts"
import { type Model, makeModel, probe } from "./Model.ts"
import { patienceMs } from "./Patience.ts"
import { type RoomClient, roomClient } from "./RoomClient.ts"
import { metricOf, type Processes, type Running, type RunOptions, startInMemory, startProcesses } from "./Running.ts"
import { isSoak } from "./Soak.ts"
import { until } from "./Until.ts"

export interface AssistantPair {
  readonly running: Running
  readonly model: Model & { readonly open: () => number }
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

type Settings = Readonly<Record<string, string>>
const integrations = ["generate", "analyze", "assign"] as const

const makePair = async <R extends Running>(start: (options: RunOptions) => Promise<R>, settings: Settings) => {
  const { handler, ...model } = makeModel()
  const running = await start({
    handler,
    instances: 2,
    settings: { REQUEST_RATE: "100000", REQUEST_BURST: "100000", ...settings }
  })
  const { origin } = running.integrations
  const client: AssistantPair["client"] = async (user, instance = 0) =>
    roomClient(user, await running.client(user, instance))

  const define: AssistantPair["define"] = async (name, definition) => {
    // A path that nobody asked for yet says which instance has the new definition.
    const mark = `/marked-${Math.random()}`
    const put = (url: string) =>
      admin(running.http)("PUT", `/integrations/${name}`, { timeoutMs: patienceMs, ...definition, url })
    assert.strictEqual((await put(origin + mark)).status, 200)
    const both = await Promise.all([client("probe", 0), client("probe", 1)])
    const knows = (one: RoomClient, path: string) => async () => {
      const before = model.asked(path).length
      await one.ask("call", { integration: name, input: { text: probe, prompt: probe, message: { body: probe } } })
      return model.asked(path).length > before
    }
    for (const one of both) await until(knows(one, mark), `${name} to be known`)
    const url = (definition as { readonly url?: string }).url ?? `${origin}/${name}`
    assert.strictEqual((await put(url)).status, 200)
    const forgot = (one: RoomClient) => async () => !(await knows(one, mark)())
    for (const one of both) await until(forgot(one), `${name} to be known`)
    for (const one of both) await one.close()
  }
  await Promise.all(integrations.map((name) => define(name, {})))

  const pair: AssistantPair = {
    running,
    model: {
      ...model,
      open: running.integrations.open,
      asked: (path) => model.asked(path).filter((input) => !JSON.stringify(input).includes(probe))
    },
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
    metric: (instance, name) => metricOf(running, name, instance),
    stop: running.stop
  }
  return { ...pair, running }
}

/** In this process, over memory. */
export const startMemoryAssistant = (settings: Settings = {}) => makePair(startInMemory, settings)

export type AssistantProcesses = AssistantPair & { readonly running: Processes }

/** Over one Redis and one PostgreSQL. */
export const startAssistantPair = (settings: Settings = {}): Promise<AssistantProcesses> =>
  makePair(startProcesses, settings)

/** What the assistant's suites run over; in a soak run also what they need no servers for. */
export const assistantBackings: ReadonlyArray<
  readonly [name: string, start: (settings?: Settings) => Promise<AssistantPair>]
> = [
  ["memory", startMemoryAssistant],
  ...(isSoak ? (["postgres", "redis"] as const) : []).map(
    (writes) =>
      [
        `ROOM_WRITES=${writes}`,
        (settings: Settings = {}) => startAssistantPair({ ROOM_WRITES: writes, ...settings })
      ] as const
  )
]
