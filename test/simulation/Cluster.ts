// The instances of a run, over what they share: started, killed, stalled and stopped.
import { Context, Effect, Exit } from "effect"
import { LockState } from "../../src/cluster/locks/LockCommands.ts"
import { MembershipCacheState } from "../../src/cluster/rooms/MembershipCache.ts"
import { PresenceState } from "../../src/cluster/rooms/PresenceMemory.ts"
import { RoomBusState } from "../../src/cluster/rooms/RoomBusState.ts"
import { WriteBufferState } from "../../src/storage/buffer/memory/WriteBufferState.ts"
import { RecordStreamState } from "../../src/storage/records/RecordLogMemory.ts"
import type { Random } from "../support/Random.ts"
import { Boundary } from "./Boundary.ts"
import { type EventLoop, type SimulatedProcess, Way } from "./EventLoop.ts"
import type { Weather } from "./Faults.ts"
import type { History } from "./History.ts"
import { Link, type LinkClient } from "./Link.ts"
import type { Deliver } from "./SimulatedBus.ts"
import type { SimulatedClient } from "./SimulatedClient.ts"
import type { Trace } from "./Trace.ts"
import { type Built, buildInstance, buildShared, type Services, type SharedServices, stopInstance } from "./World.ts"

export interface Instance {
  readonly name: string
  readonly process: SimulatedProcess
  built: Built<Services> | undefined
  state: "starting" | "up" | "stopping" | "gone"
}

export interface ClusterOptions {
  readonly loop: EventLoop
  readonly random: Random
  readonly weather: Weather
  readonly trace: Trace
  readonly history: History
}

export class Cluster {
  readonly world: SimulatedProcess
  readonly clientProcess: SimulatedProcess
  readonly clients: Array<SimulatedClient> = []
  instances: Array<Instance> = []
  shared: Context.Context<SharedServices> | undefined
  kills = 0
  /** Instances that were killed or stopped. */
  ended = 0
  #started = 0
  readonly #options: ClusterOptions

  constructor(options: ClusterOptions) {
    this.#options = options
    this.world = options.loop.current
    this.clientProcess = options.loop.process("clients")
  }

  /** Runs it in a process; a failure is one of the simulation. */
  run<A, E>(process: SimulatedProcess, what: string, effect: Effect.Effect<A, E>, done: (value: A) => void): void {
    process.fork(effect).addObserver((exit) => {
      if (Exit.isSuccess(exit)) return done(exit.value)
      this.#options.history.violate("runs", `${what} failed: ${String(exit.cause)}`)
    })
  }

  open(done: () => void): void {
    this.run(this.world, "what is shared", buildShared, ({ context }) => {
      this.shared = context
      done()
    })
  }

  start(done: () => void = () => {}): void {
    const { loop, random, trace, weather } = this.#options
    const { shared } = this
    if (shared === undefined) throw new Error("nothing is shared yet")
    const name = `i${++this.#started}`
    const process = loop.process(name, random.below(100) - 50)
    const instance: Instance = { name, process, built: undefined, state: "starting" }
    this.instances.push(instance)
    const boundary = new Boundary(process, {
      world: this.world,
      passage: weather.passage,
      trace: trace.note,
      answeredTo: weather.answeredTo,
      failed: weather.note
    })
    trace.note(process, "starts")
    process.post(() =>
      this.run(process, `start of ${name}`, buildInstance(boundary, shared, this.#deliver(process)), (built) => {
        instance.built = built
        if (instance.state === "starting") instance.state = "up"
        trace.note(process, "is up")
        done()
      })
    )
  }

  /** Events reach an instance in order, sometimes late or twice; those that do not are a gap. */
  #deliver(process: SimulatedProcess): Deliver {
    const { random, trace, weather } = this.#options
    const way = new Way(process)
    return (receive, gap) => {
      const fate = weather.delivery(process)
      if (fate === "lost") {
        trace.note(process, "events lost")
        way.send(random.below(300), gap)
        return
      }
      way.send(weather.isOn ? random.below(4) : 0, receive)
      if (fate === "twice") way.send(random.below(50), receive)
    }
  }

  /** Redis comes back as another incarnation, with what it had, or empty. */
  restartRedis(isEmpty: boolean): void {
    const { shared } = this
    if (shared === undefined) return
    const bus = Context.get(shared, RoomBusState)
    const presence = Context.get(shared, PresenceState)
    const buffer = Context.get(shared, WriteBufferState)
    if (!isEmpty) {
      for (const state of [bus, presence, buffer]) state.restart()
      return
    }
    const { history, loop } = this.#options
    const records = Context.get(shared, RecordStreamState)
    history.losses.push({ at: loop.now })
    Context.get(shared, MembershipCacheState).clear()
    records.lose()
    Context.get(shared, LockState).lose()
    for (const state of [bus, presence, buffer]) state.lose()
  }

  /** As a client of Redis does that has a connection again: what the bus brought meanwhile may be missing. */
  resubscribe(): void {
    if (this.shared !== undefined) Context.get(this.shared, RoomBusState).resubscribe()
  }

  get up(): ReadonlyArray<Instance> {
    return this.instances.filter(({ state }) => state === "up")
  }

  #forget(instance: Instance): void {
    instance.state = "gone"
    this.ended++
    this.instances = this.instances.filter((one) => one !== instance)
    for (const client of this.clients) if (client.instance === instance.name) client.abandoned()
  }

  kill(instance: Instance): void {
    this.#options.trace.note(instance.process, "is killed")
    this.kills++
    instance.process.kill()
    this.#forget(instance)
  }

  /** As SIGTERM does. */
  stop(instance: Instance): void {
    if (instance.built === undefined || instance.state !== "up") return
    this.#options.trace.note(instance.process, "is to stop")
    instance.state = "stopping"
    const { built, process } = instance
    process.post(() =>
      this.run(process, `stop of ${instance.name}`, stopInstance(built), () => {
        this.#options.trace.note(process, "has stopped")
        process.kill()
        this.#forget(instance)
      })
    )
  }

  readonly connect = (client: SimulatedClient, listener: LinkClient) => {
    const { random } = this.#options
    const { up } = this
    const instance = up[random.below(Math.max(1, up.length))]
    if (instance?.built === undefined) return undefined
    const { context } = instance.built
    const link = new Link({ client: this.clientProcess, server: instance.process }, random, listener)
    const opening = Effect.provideContext(link.open(client.user), context)
    instance.process.post(() => this.run(instance.process, "opening a connection", opening, () => {}))
    return { link, instance: instance.name }
  }
}
