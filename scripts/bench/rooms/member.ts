// One member's connection: asks and is answered, and hands on the room's events.
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

  /** Resolves once the server has greeted it. */
  static async connect(url: URL, user: string, dialect: Dialect, listener: Listener): Promise<Member> {
    const member = new Member(dialect, listener)
    const greeted = new Promise<void>((resolve) => {
      member.#ready = resolve
    })
    // The greeting may come with the very bytes that open the socket: what is to be said back waits until it is there.
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
    // Both servers name their event so, near its beginning, and nothing else.
    if (text.includes('"room.event"')) return this.#listener.event(text)
    const heard = this.#dialect.hear(text)
    if (heard === undefined) return
    if (heard === "ready") this.#ready?.()
    else if ("say" in heard) void opening.then((socket) => socket.send(heard.say))
    else {
      const replied = this.#waiting.get(heard.reply.id)
      this.#waiting.delete(heard.reply.id)
      replied?.(heard.reply)
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
