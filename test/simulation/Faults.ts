// What happens to the calls between instances and what they share: mostly a little time, at the seed's choice more.
import type { Random } from "../support/Random.ts"
import type { Crossing, Group, Passage } from "./Boundary.ts"
import type { SimulatedProcess } from "./EventLoop.ts"
import { text } from "./RoomView.ts"

/** `away`: calls are not sent. `silent`: they do not arrive. `deaf`: they arrive, and their answers are lost. */
export type LinkState = "up" | "slow" | "away" | "silent" | "deaf"

const refused: Passage = { there: undefined, back: undefined, isRefused: true }
const silent: Passage = { there: undefined, back: undefined, isRefused: false }

export class Weather {
  readonly #random: Random
  /** Of one process, or of `all`. */
  readonly #links = new Map<string, LinkState>()
  /** Off: there is nothing between the instances and what they share. */
  isOn = false
  /** How many of a thousand calls lose their answer, and how many are late. */
  lost = 0
  late = 0
  /** How many of a thousand deliveries of the bus are lost, which is a gap, and how many come twice. */
  gaps = 0
  twice = 0
  faults = 0
  /** Of each group, calls that failed in the instance, whatever became of them. */
  readonly failed: Record<Group, number> = { redis: 0, postgres: 0, upstream: 0 }

  constructor(random: Random) {
    this.#random = random
  }

  /** Whether a room's unpublished changes could not be read. */
  failedOutbox = false

  /** Messages that the buffer and Postgres may both have been sent, each without knowing of the other. */
  readonly unsure = new Set<string>()

  readonly note = (crossing: Crossing, args: ReadonlyArray<unknown>): void => {
    this.failed[crossing.group]++
    if (crossing.port === "Outbox" && crossing.method === "pending") this.failedOutbox = true
    // Then a buffer that has lost the message takes it again.
    if (crossing.port === "MessageStore" && crossing.method === "find") this.unsure.add(String(args[1]))
    this.answeredTo(crossing, args, false)
  }

  /** Messages by where they were written: one that is in Postgres is not known to a buffer that does not reach it. */
  readonly #written = new Map<string, string>()

  readonly answeredTo = ({ method, port }: Crossing, [first]: ReadonlyArray<unknown>, isKnown: boolean): void => {
    const isMessage = method === (port === "MessageStore" ? "send" : "append")
    if (!isMessage || (port !== "MessageStore" && port !== "WriteBuffer")) return
    const messageId = text(first, "messageId")
    if (!isKnown || (this.#written.get(messageId) ?? port) !== port) this.unsure.add(messageId)
    this.#written.set(messageId, port)
  }

  set(name: string, group: Group, state: LinkState): void {
    if (state === "up") this.#links.delete(`${name} ${group}`)
    else this.#links.set(`${name} ${group}`, state)
  }

  clear(): void {
    this.#links.clear()
    this.lost = 0
    this.late = 0
    this.gaps = 0
    this.twice = 0
  }

  #stateOf(process: SimulatedProcess, group: Group): LinkState {
    if (this.#links.size === 0) return "up"
    return this.#links.get(`${process.name} ${group}`) ?? this.#links.get(`all ${group}`) ?? "up"
  }

  delivery(process: SimulatedProcess): "once" | "twice" | "lost" {
    if (!this.isOn) return "once"
    const state = this.#stateOf(process, "redis")
    if (state === "away" || state === "deaf") return "lost"
    const draw = this.#random.below(1000)
    if (draw < this.gaps) return "lost"
    return draw < this.gaps + this.twice ? "twice" : "once"
  }

  readonly passage = ({ group, process }: Crossing): Passage | undefined => {
    if (!this.isOn) return undefined
    const random = this.#random
    const state = this.#stateOf(process, group)
    if (state !== "up") this.faults++
    if (state === "away") return refused
    if (state === "silent") return silent
    const delay = () => {
      if (state === "slow") return random.below(group === "redis" ? 350 : 2000)
      return this.late > 0 && random.below(1000) < this.late ? random.below(200) : random.below(3)
    }
    const there = delay()
    if (state === "deaf" || (this.lost > 0 && random.below(1000) < this.lost)) {
      this.faults++
      // A call that is lost, and one whose answer is.
      return random.chance(0.3) ? silent : { there, back: undefined, isRefused: false }
    }
    return { there, back: delay(), isRefused: false }
  }
}
