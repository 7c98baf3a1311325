// One member's connection: sends requests, receives replies, passes on the room's events.
import { ClientSocket } from "../lib/client-socket.ts"
import type { Dialect, Reply } from "./dialects.ts"

const patienceMs = 30_000

export interface Listener {
  readonly event: (text: string) => void
  readonly lost: (reason: string) => void
}

export class Member {
  readonly #dialect: Dialect
  readonly #listener: Listener
  readonly #waiting = new Map<number, (reply: Reply) => void>()
  #socket: ClientSocket | undefined
  #ready: (() => void) | undefined
  #id = 0

  private constructor(dialect: Dialect, listener: Listener) {
    this.#dialect = dialect
    this.#listener = listener
  }

  /** Resolves after the server's greeting. */
  static async connect(url: URL, user: string, dialect: Dialect, listener: Listener): Promise<Member> {
    const member = new Member(dialect, listener)
    const greeted = new Promise<void>((resolve) => {
      member.#ready = resolve
    })
    // The greeting may arrive in the same bytes as the upgrade: replies to it wait until the socket exists.
    const opening = ClientSocket.connect(url.hostname, Number(url.port), dialect.target(user), {
      text: (text) => member.#receive(text, opening),
      lost: listener.lost
    })
    member.#socket = await opening
    await member.#within(greeted, `a greeting for ${user}`)
    return member
  }

  async call(method: string, params: object): Promise<unknown> {
    const answer = new Promise<Reply>((resolve) => this.request(method, params, resolve))
    const { error, result } = await this.#within(answer, `a reply to ${method}`)
    if (error !== undefined) throw new Error(`${method}: ${JSON.stringify(error)}`)
    return result
  }

  request(method: string, params: object, replied: (reply: Reply) => void): void {
    const id = ++this.#id
    this.#waiting.set(id, replied)
    this.#socket?.send(this.#dialect.request(id, method, params))
  }

  #receive(text: string, opening: Promise<ClientSocket>) {
    // Both servers use this name for their event, near the frame's beginning, and for nothing else.
    if (text.includes('"room.event"')) return this.#listener.event(text)
    const meaning = this.#dialect.read(text)
    if (meaning === undefined) return
    if (meaning === "ready") this.#ready?.()
    else if ("say" in meaning) void opening.then((socket) => socket.send(meaning.say))
    else {
      const replied = this.#waiting.get(meaning.reply.id)
      this.#waiting.delete(meaning.reply.id)
      replied?.(meaning.reply)
    }
  }

  async #within<A>(awaited: Promise<A>, what: string): Promise<A> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`no ${what} within ${patienceMs / 1000} s`)), patienceMs)
    })
    try {
      return await Promise.race([awaited, late])
    } finally {
      clearTimeout(timer)
    }
  }
}
