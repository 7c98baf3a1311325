// What the users of a run do, at the seed's choice: rooms, messages, documents, calls, connections that end.
import type { Random } from "../support/Random.ts"
import type { Answer, Fields, History } from "./History.ts"
import type { RoomView } from "./RoomView.ts"
import { text } from "./RoomView.ts"
import type { SimulatedClient } from "./SimulatedClient.ts"

const maxInFlight = 4
/** Errors after which asking again makes no sense. */
const final = new Set(["RoomNotFound", "NotAMember", "Forbidden", "InvalidParams", "MessageNotFound", "ThreadNotFound"])

interface Own {
  readonly messageId: string
  readonly roomId: string
  isBusy: boolean
}

export class User {
  readonly client: SimulatedClient
  readonly #random: Random
  readonly #history: History
  readonly #own: Array<Own> = []
  #count = 0
  isOver = false
  /** Messages with a key that nobody acknowledged yet. */
  unsure = 0

  constructor(client: SimulatedClient, random: Random) {
    this.client = client
    this.#random = random
    this.#history = client.history
  }

  /** Does the next thing. */
  act(): void {
    const { client } = this
    const random = this.#random
    if (client.inFlight >= maxInFlight) return
    const views = [...client.rooms.values()].filter(({ isIn }) => isIn)
    const view = views.length === 0 ? undefined : random.pick(views)
    if (view === undefined) {
      if (client.isConnected && random.chance(0.3)) this.#call()
      return
    }
    random.weighted<() => void>([
      [30, () => this.#send(view)],
      [20, () => this.#update(view)],
      [8, () => this.#edit()],
      [3, () => this.#delete()],
      [6, () => this.#react()],
      [3, () => this.#switch(view)],
      [4, () => client.request("threads.create", { roomId: view.roomId, title: this.#label("thread") })],
      [3, () => client.request("presence.list", { roomId: view.roomId })],
      [3, () => client.request("rooms.participants", { roomId: view.roomId })],
      [3, () => client.readAll(view)],
      [8, () => this.#call()],
      [2, () => client.end("leave")],
      [2, () => client.end("cut")],
      [1, () => client.end("vanish")]
    ])()
  }

  #label(kind: string): string {
    return `${this.client.user}-${kind}-${++this.#count}`
  }

  #send(view: RoomView): void {
    const body = this.#label("m")
    const { roomId } = view
    const key = this.#random.chance(0.75) ? body : undefined
    const { now } = this
    if (key === undefined)
      return this.client.request("messages.send", { roomId, body }, (answer) =>
        this.#sent(roomId, body, key, now, answer)
      )
    this.#history.wanted.set(JSON.stringify([this.client.user, key]), { roomId, body })
    this.unsure++
    this.#sendKeyed(view, body, key)
  }

  #sendKeyed(view: RoomView, body: string, key: string): void {
    const { client } = this
    const { roomId } = view
    const again = () => client.after(50 + this.#random.below(300), () => this.#sendKeyed(view, body, key))
    if (!view.isIn) {
      if (!client.rooms.has(roomId)) this.unsure--
      else again()
      return
    }
    const { now } = this
    client.request("messages.send", { roomId, body, key }, (answer) => {
      if (answer?.result === undefined && !final.has(text(answer?.error?.data, "type"))) return again()
      this.unsure--
      this.#sent(roomId, body, key, now, answer)
    })
  }

  #sent(roomId: string, body: string, key: string | undefined, sentAt: number, answer: Answer | undefined): void {
    if (answer?.result === undefined) return
    const { client } = this
    const messageId = text(answer.result, "messageId")
    const { now } = this
    this.#history.sent.push({ roomId, author: client.user, messageId, body, key, sentAt, at: now })
    if (!this.#history.bodies.has(messageId))
      this.#history.bodies.set(messageId, { possible: new Set([body]), late: new Set() })
    this.#own.push({ messageId, roomId, isBusy: false })
  }

  get now(): number {
    return this.client.now
  }

  #free(): Own | undefined {
    const free = this.#own.filter(({ isBusy, messageId }) => !isBusy && !this.#history.deleted.has(messageId))
    return free.length === 0 ? undefined : this.#random.pick(free)
  }

  #edit(): void {
    const own = this.#free()
    if (own === undefined) return
    const { messageId } = own
    const body = this.#label("e")
    const known = this.#history.bodies.get(messageId)
    const late = new Set(known?.late)
    own.isBusy = true
    this.#history.bodies.set(messageId, { possible: new Set([...(known?.possible ?? []), body]), late })
    this.client.request("messages.edit", { messageId, body }, (answer) => {
      own.isBusy = false
      if (answer?.result === undefined) late.add(body)
      else this.#history.bodies.set(messageId, { possible: new Set([...late, body]), late })
    })
  }

  #delete(): void {
    const own = this.#free()
    if (own === undefined) return
    own.isBusy = true
    this.#history.maybeDeleted.add(own.messageId)
    this.client.request("messages.delete", { messageId: own.messageId }, (answer) => {
      own.isBusy = false
      if (answer?.result !== undefined) this.#history.deleted.add(own.messageId)
    })
  }

  #react(): void {
    const { sent } = this.#history
    if (sent.length === 0) return
    const { messageId } = this.#random.pick(sent)
    const method = this.#random.chance(0.7) ? "messages.react" : "messages.unreact"
    this.client.request(method, { messageId, emoji: this.#random.pick(["👍", "🎉"]) })
  }

  #update(view: RoomView): void {
    const { roomId } = view
    const { name, version } = view.document
    const label = this.#label("d")
    const named = this.#random.chance(0.5)
    const params: Fields = { roomId, baseVersion: version, text: label, ...(named && { name }) }
    const { instance, now: sentAt } = this.client
    this.#history.updates.push({ roomId, text: label, user: this.client.user })
    this.client.request("document.update", params, (answer) => {
      const acknowledged = answer?.result?.["version"]
      if (typeof acknowledged === "number") {
        this.#history.versions.push({
          roomId,
          name: named ? name : undefined,
          version: acknowledged,
          isDirect: answer?.result?.["savedVersion"] === acknowledged,
          text: label,
          user: this.client.user,
          instance,
          sentAt
        })
        return
      }
      const conflict = answer?.error?.data
      if (text(conflict, "type") !== "VersionConflict" || conflict === undefined) return
      view.adopt({ name: text(conflict, "name"), version: Number(conflict["version"]), text: text(conflict, "text") })
    })
  }

  #switch(view: RoomView): void {
    this.client.request("document.switch", { roomId: view.roomId, name: this.#random.pick(["main", "notes"]) })
  }

  #call(): void {
    const { client } = this
    const ack = this.#random.pick(["memory", "redis", "postgres"])
    const { instance, now: sentAt } = client
    client.request("call", { integration: "weather", input: {}, ack }, (answer) => {
      const { result } = answer ?? {}
      if (result === undefined) return
      this.#history.records.push({ recordId: text(result, "recordId"), ack: text(result, "ack"), instance, sentAt })
    })
  }
}
