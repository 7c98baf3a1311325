// What one client knows of a room: where it is in the room's events, which of them it saw, the document as far as they
// tell. Judges the order as it goes.
import type { Fields, History } from "./History.ts"

interface EventParams {
  readonly seq: number
  readonly event: Fields & { readonly type: string }
}

export interface Page {
  readonly messages: ReadonlyArray<Fields>
  readonly more: boolean
}

const field = (value: unknown, name: string): unknown =>
  typeof value === "object" && value !== null ? (value as Fields)[name] : undefined
export const text = (value: unknown, name: string): string => String(field(value, name))

export class RoomView {
  readonly roomId: string
  readonly user: string
  readonly history: History
  cursor: string | undefined
  isIn = false
  /** Since when nothing was missed. */
  since = 0
  /** How often each message was seen as sent. */
  readonly sent = new Map<string, number>()
  /** Updates that came after newer ones. */
  readonly late: Array<{ readonly name: string; readonly version: number; readonly after: number }> = []
  /** Messages that a resume brought although they were seen, and at which place among its events. */
  readonly repeats: Array<{ readonly messageId: string; readonly place: number }> = []
  /** Messages that a state or a list held. */
  readonly inState = new Set<string>()
  readonly deleted = new Set<string>()
  document: { name: string; version: number; text: string } = { name: "main", version: 0, text: "" }
  /** Events by epoch and seq, as far as the numbers are the bus's own. */
  readonly byNumber = new Map<string, string>()
  readonly #highest = new Map<string, number>()

  constructor(roomId: string, user: string, history: History) {
    this.roomId = roomId
    this.user = user
    this.history = history
  }

  /** A join, or a resume that recovered nothing. */
  state(state: Fields, now: number): void {
    this.cursor = String(state["cursor"])
    this.since = now
    this.isIn = true
    // An instance that lags behind repeats what the state has already.
    for (const messageId of this.sent.keys()) this.inState.add(messageId)
    this.sent.clear()
    this.repeats.length = 0
    this.#highest.clear()
    const messages = state["messages"]
    if (Array.isArray(messages)) for (const message of messages) this.inState.add(text(message, "messageId"))
    this.#see(state["document"], false)
  }

  resumed(answer: Fields, now: number): void {
    if (answer["recovered"] !== true) return this.state(answer, now)
    const events: ReadonlyArray<EventParams> = Array.isArray(answer["events"]) ? answer["events"] : []
    for (const [place, event] of events.entries()) this.event(event, place)
    if (this.cursor !== answer["cursor"])
      this.history.violate("order", `${this.user} resumed to ${this.cursor}, and the cursor is ${answer["cursor"]}`)
    this.isIn = true
  }

  /** `place`: among the events of a resume. */
  event({ event, seq }: EventParams, place?: number): void {
    const [epoch = "", last = "0"] = (this.cursor ?? "").split(":")
    if (seq !== Number(last) + 1)
      this.history.violate("order", `${this.user} got ${event.type} as ${seq} after ${this.cursor}`)
    this.cursor = `${epoch}:${seq}`
    const message = event["message"]
    // What a later change made of a message or a text is left out of what a resume repeats.
    if (!epoch.includes("~") && epoch !== "none")
      this.byNumber.set(
        this.cursor,
        `${event.type} ${text(message, "messageId")} ${String(event["user"])} ${String(event["name"])} ${String(event["version"])}`
      )
    switch (event.type) {
      case "message.sent": {
        const id = text(message, "messageId")
        if (place !== undefined && this.sent.has(id)) this.repeats.push({ messageId: id, place })
        this.sent.set(id, (this.sent.get(id) ?? 0) + 1)
        break
      }
      case "message.deleted":
        this.deleted.add(text(message, "messageId"))
        break
      case "document.updated":
        this.#see({ name: event["name"], version: event["version"], text: event["text"] ?? "" })
        break
      case "document.switched":
        this.#see(event["document"], false)
    }
  }

  /** What an answer said of the open document. */
  adopt(document: { readonly name: string; readonly version: number; readonly text: string }): void {
    this.document = document
  }

  /** Events come in the order of the versions; a state may hold more than the events that follow it. */
  #see(document: unknown, isEvent = true): void {
    const [name, version] = [text(document, "name"), Number(field(document, "version"))]
    const highest = this.#highest.get(name) ?? 0
    if (isEvent) {
      if (version < highest) this.late.push({ name, version, after: highest })
      this.#highest.set(name, version)
    }
    if (name !== this.document.name || version >= this.document.version)
      this.document = { name, version, text: text(document, "text") }
  }
}
