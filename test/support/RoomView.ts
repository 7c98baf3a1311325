// A room as a client knows it: the state it was given, and every event since.
import { isDeepStrictEqual } from "node:util"
import type { Message, Thread } from "../../src/domain/Message.ts"
import type { RoomEvent } from "../../src/domain/RoomEvent.ts"
import type { State } from "./RoomClient.ts"
import { type ModelMessage, type ModelRoom, plainMessage, presence, type World } from "./RoomModel.ts"

export class RoomView {
  readonly #people: Set<string>
  readonly #present: Set<string>
  readonly #messages: Map<string, ModelMessage>
  /** Whether there are older messages than it knows of. */
  readonly #more: boolean
  /** The threads of events: a state has none. */
  readonly #threads = new Map<string, Thread>()
  #isDeleted = false

  constructor({ messages, more, participants, present }: State) {
    this.#people = new Set(participants.map(({ user }) => user))
    this.#present = new Set(present.map(({ user }) => user))
    this.#messages = new Map(messages.map((message) => [message.messageId, plainMessage(message)]))
    this.#more = more
  }

  apply(event: RoomEvent): void {
    switch (event.type) {
      case "message.sent":
        return this.#put(event.message)
      case "message.edited":
      case "message.deleted":
      case "message.reacted":
        // One that is older than what it was given: nothing it shows.
        return this.#messages.has(event.message.messageId) ? this.#put(event.message) : undefined
      case "thread.created":
      case "thread.changed":
        this.#threads.set(event.thread.threadId, event.thread)
        return
      case "member.joined":
        this.#people.add(event.user)
        return
      case "member.left":
        this.#people.delete(event.user)
        return
      case "presence.joined":
        this.#present.add(event.user)
        return
      case "presence.left":
        this.#present.delete(event.user)
        return
      case "room.deleted":
        this.#isDeleted = true
        return
      default:
        throw new Error(`the view does not know ${event.type}`)
    }
  }

  #put(message: Message): void {
    this.#messages.set(message.messageId, plainMessage(message))
  }

  /** How it differs from the model; undefined: not at all. */
  difference(world: World, room: ModelRoom): string | undefined {
    const messages = [...this.#messages.values()]
    const wanted = this.#more ? room.messages.slice(-messages.length) : room.messages
    const threads = [...this.#threads.values()]
    const parts: ReadonlyArray<readonly [string, unknown, unknown]> = [
      ["deleted", this.#isDeleted, room.isDeleted],
      ["people", [...this.#people].sort(), Object.keys(room.members).sort()],
      ["present", [...this.#present].sort(), Object.keys(presence(world, room.roomId)).sort()],
      ["messages", messages, wanted],
      ["threads", threads, threads.map(({ threadId }) => room.threads.find((one) => one.threadId === threadId))]
    ]
    const wrong = parts.find(([, seen, right]) => !isDeepStrictEqual(seen, right))
    if (wrong === undefined) return undefined
    const [what, seen, right] = wrong
    return `${what}: seen ${JSON.stringify(seen).slice(-1500)}, wanted ${JSON.stringify(right).slice(-1500)}`
  }
}
