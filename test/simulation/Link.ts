// The network between a client and an instance: what is sent takes time, keeps its order, and is lost when an end goes.
import { Effect } from "effect"
import { UserLimits } from "../../src/cluster/limits/UserLimits.ts"
import { Connections } from "../../src/gateway/connection/Connections.ts"
import { Lifecycle } from "../../src/observability/Lifecycle.ts"
import { type Closed, MemorySocket } from "../../src/testing/MemorySocket.ts"
import type { Random } from "../support/Random.ts"
import { type SimulatedProcess, Way } from "./EventLoop.ts"

export interface LinkClient {
  readonly received: (text: string) => void
  readonly ended: (closed: Closed) => void
}

export interface LinkEnds {
  readonly client: SimulatedProcess
  readonly server: SimulatedProcess
}

const maxFrameBytes = 65_536

export class Link {
  readonly #random: Random
  readonly #socket: MemorySocket
  readonly #client: LinkClient
  readonly #toServer: Way
  readonly #toClient: Way
  #isEnded = false

  constructor(ends: LinkEnds, random: Random, client: LinkClient) {
    this.#random = random
    this.#client = client
    this.#toServer = new Way(ends.server)
    this.#toClient = new Way(ends.client)
    this.#socket = new MemorySocket(
      {
        frame: (text) => this.#arrive(() => client.received(text)),
        closed: (closed) => this.#arrive(() => this.#end(closed))
      },
      maxFrameBytes
    )
  }

  /** Mostly at once, sometimes late. */
  #delay(): number {
    return this.#random.chance(0.8) ? this.#random.below(3) : this.#random.below(40)
  }

  #arrive(task: () => void): void {
    this.#toClient.send(this.#delay(), () => {
      if (!this.#isEnded) task()
    })
  }

  #end(closed: Closed): void {
    if (this.#isEnded) return
    this.#isEnded = true
    this.#client.ended(closed)
  }

  /** As the upgrade does. */
  open(user: string): Effect.Effect<void, never, Connections | UserLimits | Lifecycle> {
    return Effect.gen({ self: this }, function* () {
      const connections = yield* Connections
      const users = yield* UserLimits
      const lifecycle = yield* Lifecycle
      const refuse = (reason: string) => Effect.sync(() => this.#arrive(() => this.#end({ code: 503, reason })))
      if (lifecycle.state() === "draining") return yield* refuse("draining")
      const use = yield* Effect.option(users.connect(user))
      if (use._tag === "None") return yield* refuse("too many connections")
      connections.open(this.#socket, this.#socket, { user, expiresAt: undefined }, use.value, (connection) =>
        this.#socket.attach(connection)
      )
    })
  }

  send(text: string): void {
    this.#toServer.send(this.#delay(), () => this.#socket.send(text))
  }

  /** The client closes it: what is under way to it is not read. */
  leave(): void {
    this.#isEnded = true
    this.#toServer.send(this.#delay(), () => this.#socket.leave(1000))
  }

  /** The client is gone, and the server does not learn of it: it pings in vain. */
  vanish(): void {
    this.#isEnded = true
    this.#socket.answerPings(false)
    this.#socket.read(false)
  }

  /** The network between both breaks: each end sees it. */
  cut(): void {
    this.#end({ code: 1006, reason: "" })
    this.#toServer.send(this.#delay(), () => this.#socket.cut())
  }

  /** The instance is dead: the client sees the end, after some of what was under way, or at once. */
  abandon(): void {
    if (this.#random.chance(0.5)) this.#end({ code: 1006, reason: "" })
    else this.#arrive(() => this.#end({ code: 1006, reason: "" }))
  }
}
