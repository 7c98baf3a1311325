// Two instances in this process, over memory, with the real clock: what RoomPair.ts has as processes over real servers.
import { Context, Effect, Exit, Layer, Scope } from "effect"
import { ContactStore } from "../../src/storage/rooms/ContactStore.ts"
import { MemoryRooms } from "../../src/storage/rooms/memory/MemoryRooms.ts"
import { type FaultOverride, intercept, none, slowAnswer } from "../../src/testing/Faults.ts"
import { TestHotpath } from "../../src/testing/TestHotpath.ts"
import { liftedLimits } from "./LiftedLimits.ts"
import { asClient } from "./MemoryClient.ts"
import { roomClient } from "./RoomClient.ts"
import { inRooms, type RoomPair, type Saved } from "./RoomPair.ts"
import { until } from "./Until.ts"

/** A gate in front of the writes of contacts. */
const gateOfContacts = () => {
  const open = { passage: Promise.resolve(), waiting: 0 }
  const override: FaultOverride = [
    ContactStore.key,
    (original) =>
      intercept(
        original as ContactStore["Service"],
        ({ method }) =>
          (effect) =>
            method !== "add" && method !== "remove"
              ? effect
              : Effect.andThen(
                  Effect.suspend(() => {
                    open.waiting++
                    return Effect.promise(() => open.passage)
                  }),
                  effect
                )
      )
  ]
  const hold: RoomPair["holdContacts"] = async () => {
    const { promise, resolve } = Promise.withResolvers<void>()
    Object.assign(open, { passage: promise, waiting: 0 })
    return {
      isWaitedFor: () => until(() => open.waiting > 0, "a write of contacts"),
      release: async () => resolve()
    }
  }
  return { override, hold }
}

const savedIn = ({ feedback, rooms }: MemoryRooms["Service"]): Saved => ({
  document: async (roomId, name = "main") => {
    const found = rooms.get(roomId)?.documents.get(name)
    return found === undefined || found.version === 0 ? undefined : { version: found.version, text: found.text }
  },
  bodies: async (roomId) => rooms.get(roomId)?.messages.map(({ message }) => message.body) ?? [],
  feedback: async () => [...feedback.values()].map((one) => ({ ...one, comment: one.comment ?? null }))
})

export interface MemoryOptions {
  /** What is asked of Redis is done at once and answered later: events come before the answer of what they tell of. */
  readonly lateAnswers?: boolean
}

export const startMemoryPair = async (
  env: Readonly<Record<string, string>> = {},
  { lateAnswers = false }: MemoryOptions = {}
): Promise<RoomPair> => {
  const scope = Effect.runSync(Scope.make())
  const settings = { ...liftedLimits, REQUEST_RATE: "100000", REQUEST_BURST: "100000", ...env }
  const contacts = gateOfContacts()
  const layer = TestHotpath.layer({
    instances: 2,
    settings,
    integrations: { weather: { url: "http://weather.test/" } },
    faults: { at: [contacts.override], redis: lateAnswers ? slowAnswer("2 millis") : none }
  })
  const context = await Effect.runPromise(Layer.buildWithScope(layer, scope))
  const { instances } = Context.get(context, TestHotpath)
  const plainClient: RoomPair["plainClient"] = async (user, number = 0) => {
    const instance = instances[number]
    if (instance === undefined) throw new Error(`there is no instance ${number}`)
    return asClient(await Effect.runPromise(Scope.provide(instance.client(user), scope)))
  }
  const client: RoomPair["client"] = async (user, number) => roomClient(user, await plainClient(user, number))
  return {
    client,
    plainClient,
    room: inRooms(client),
    saved: savedIn(Context.get(context, MemoryRooms)),
    holdContacts: contacts.hold,
    stop: () => Effect.runPromise(Scope.close(scope, Exit.void))
  }
}
