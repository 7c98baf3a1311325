// Whether answers are what the model gives in some order of the requests that were under way together, and where that leads.
import { isDeepStrictEqual } from "node:util"
import type { Message } from "../../src/domain/Message.ts"
import type { Room } from "../../src/domain/Room.ts"
import type { Reply, State } from "./RoomClient.ts"
import { type Asked, answer, plainMessage, type World } from "./RoomModel.ts"

type Fields = Readonly<Record<string, unknown>>
type Replies = ReadonlyArray<Reply<"rooms.get">>

const plainState = ({ messages, more, participants, present, room }: State) => ({
  title: room.title,
  participants: Object.fromEntries(participants.map(({ role, user }) => [user, role])),
  present: plainPresent(present),
  messages: messages.map(plainMessage),
  more
})

export const plainPresent = (present: State["present"]) =>
  Object.fromEntries(present.map(({ connections, user }) => [user, connections]))

export const plainPage = ({
  messages,
  more
}: {
  readonly messages: ReadonlyArray<Message>
  readonly more: boolean
}) => ({
  messages: messages.map(plainMessage),
  more
})

/** A result as the model gives it. */
const plain = (method: string, result: Fields): unknown => {
  switch (method) {
    case "messages.send":
    case "messages.edit":
    case "messages.react":
    case "messages.unreact":
      return plainMessage(result as unknown as Message)
    case "messages.list":
      return plainPage(result as unknown as Parameters<typeof plainPage>[0])
    case "threads.list":
      return result["threads"]
    case "rooms.get":
      return { roomId: result["roomId"], title: result["title"], maker: result["owner"] }
    case "rooms.list":
      return (result["rooms"] as ReadonlyArray<Room>).map(({ roomId }) => roomId).sort()
    case "rooms.join":
    case "rooms.resume":
      return plainState(result as unknown as State)
    case "presence.list":
      return plainPresent(result["present"] as State["present"])
    case "rooms.invite":
      return {}
    default:
      return result
  }
}

/** Read in several steps: with others under way, what it answers is of no one moment. */
const isOfNoMoment = (method: string) => ["rooms.join", "rooms.resume", "presence.list"].includes(method)

const orders = <A>(all: ReadonlyArray<A>): ReadonlyArray<ReadonlyArray<A>> =>
  all.length <= 1
    ? [all]
    : all.flatMap((one, n) => orders([...all.slice(0, n), ...all.slice(n + 1)]).map((rest) => [one, ...rest]))

/** Worlds that differ in anything. */
export const distinct = (all: ReadonlyArray<World>): ReadonlyArray<World> => [
  ...new Map(all.map((one) => [JSON.stringify(one), one])).values()
]

/** Has the model answer in this order; returns the first answer that is another, if any, and the world after it all. */
const replay = (from: World, order: ReadonlyArray<number>, asked: ReadonlyArray<Asked>, replies: Replies) => {
  const world = structuredClone(from)
  for (const n of order) {
    const [one, reply] = [asked[n], replies[n]]
    if (one === undefined || reply === undefined) throw new Error("a request without a reply")
    const result = reply.result as unknown as Fields | undefined
    const wanted = answer(world, one, result)
    const isLoose = asked.length > 1 && wanted.result !== undefined && isOfNoMoment(one.method)
    const seen = result === undefined ? { error: reply.error?.data.type } : { result: plain(one.method, result) }
    const isRight = isLoose ? result !== undefined : isDeepStrictEqual(wanted, seen)
    if (!isRight) return { world, misfit: `wanted ${JSON.stringify(wanted)}, got ${JSON.stringify(seen)}` }
  }
  return { world, misfit: undefined }
}

type Step = readonly [asked: Asked, reply: Reply<"rooms.get">]

/** Coming in with an invite is two steps, and a removal between them is told as it is: no member. */
const inSteps = (asked: Asked, reply: Reply<"rooms.get">): ReadonlyArray<Step> => {
  const { invite, ...params } = asked.params
  if (asked.method !== "rooms.join" || invite === undefined || reply.error?.data.type !== "NotAMember") {
    return [[asked, reply]]
  }
  return [
    [{ ...asked, method: "accept" }, { result: {} as never }],
    [{ ...asked, params }, reply]
  ]
}

const explainSteps = (worlds: ReadonlyArray<World>, steps: ReadonlyArray<Step>): ReadonlyArray<World> => {
  const [asked, replies] = [steps.map(([one]) => one), steps.map(([, reply]) => reply)]
  const isInOrder = (order: ReadonlyArray<number>) =>
    order.every((n, at) => asked[n]?.method !== "accept" || order.indexOf(n + 1) > at)
  const all = orders(steps.map((_, n) => n)).filter(isInOrder)
  const tried = worlds.flatMap((from) => all.map((order) => replay(from, order, asked, replies)))
  return distinct(tried.flatMap(({ misfit, world }) => (misfit === undefined ? [world] : [])))
}

/** The worlds that the answers lead to, in whichever order; none: nothing explains them. */
export const explain = (worlds: ReadonlyArray<World>, asked: ReadonlyArray<Asked>, replies: Replies) => {
  const whole = asked.flatMap((one, n): ReadonlyArray<Step> => {
    const reply = replies[n]
    return reply === undefined ? [] : [[one, reply]]
  })
  const found = explainSteps(worlds, whole)
  return found.length > 0 || asked.length === 1
    ? found
    : explainSteps(
        worlds,
        whole.flatMap(([one, reply]) => inSteps(one, reply))
      )
}

export const firstMisfit = (from: World, asked: ReadonlyArray<Asked>, replies: Replies): string | undefined => {
  const order = asked.map((_, n) => n)
  return replay(from, order, asked, replies).misfit
}
