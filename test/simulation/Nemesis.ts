// What goes wrong in a run, at the seed's choice; and how it is made good again.
import type { Random } from "../support/Random.ts"
import type { Cluster } from "./Cluster.ts"
import type { EventLoop } from "./EventLoop.ts"
import type { LinkState, Weather } from "./Faults.ts"
import type { History } from "./History.ts"
import type { Trace } from "./Trace.ts"

export interface NemesisOptions {
  readonly loop: EventLoop
  readonly random: Random
  readonly cluster: Cluster
  readonly weather: Weather
  readonly trace: Trace
  readonly history: History
  readonly instances: number
}

export class Nemesis {
  readonly #options: NemesisOptions
  readonly done: Array<string> = []
  #isOver = false
  #paceMs = 1000
  #losesRedis = false
  /** Whether an instance may have lost its place, which the others find out after its lease. */
  hasLostInstances = false

  constructor(options: NemesisOptions) {
    this.#options = options
  }

  #note(what: string): void {
    const { cluster, trace } = this.#options
    trace.note(cluster.world, `NEMESIS ${what}`)
    this.done.push(what)
  }

  #after(ms: number, task: () => void): void {
    const { cluster, loop } = this.#options
    loop.after(cluster.world, ms, () => {
      if (!this.#isOver) task()
    })
  }

  start(): void {
    const { random, weather } = this.#options
    weather.isOn = true
    this.#paceMs = random.pick([200, 600, 1500, 3000])
    weather.late = random.pick([0, 20, 100, 300])
    weather.lost = random.pick([0, 0, 5, 20])
    weather.gaps = random.pick([0, 0, 20, 100])
    weather.twice = random.pick([0, 20, 100])
    this.#losesRedis = random.chance(0.25)
    this.#next()
  }

  #next(): void {
    const { random } = this.#options
    this.#after(random.below(2 * this.#paceMs), () => {
      this.#strike()
      this.#next()
    })
  }

  #strike(): void {
    const { cluster, history, instances, loop, random } = this.#options
    const { up } = cluster
    const [victim] = up.length === 0 ? [] : [random.pick(up)]
    const link = (group: "redis" | "postgres", state: LinkState, name: string) => {
      const { weather } = this.#options
      weather.set(name, group, state)
      const ms = 100 + random.below(random.chance(0.3) ? 8000 : 1500)
      this.#note(`${group} is ${state} for ${name}, ${ms} ms`)
      this.#after(ms, () => {
        this.#note(`${group} is back for ${name}`)
        weather.set(name, group, "up")
        if (group === "redis") cluster.resubscribe()
      })
    }
    const who = () => (random.chance(0.5) || victim === undefined ? "all" : victim.name)
    const state = () => random.pick<LinkState>(["away", "away", "silent", "deaf", "slow"])
    random.weighted<() => void>([
      [3, () => link("redis", state(), who())],
      [3, () => link("postgres", state(), who())],
      [
        1,
        () => {
          // What Redis and the instance that acknowledged it lose together is lost: one of them is kept.
          const isEmpty = this.#losesRedis && random.chance(0.5)
          this.#note(`redis restarts${isEmpty ? ", empty" : ""}`)
          cluster.restartRedis(isEmpty)
        }
      ],
      [
        this.#losesRedis ? 0 : 3,
        () => {
          if (victim === undefined) return
          this.#note(`kills ${victim.name}`)
          this.hasLostInstances = true
          cluster.kill(victim)
          this.#after(random.below(1500), () => cluster.start())
        }
      ],
      [
        this.#losesRedis ? 0 : 1,
        () => {
          if (victim === undefined) return
          this.#note(`stops ${victim.name}`)
          this.hasLostInstances = true
          cluster.stop(victim)
          this.#after(random.below(1500), () => cluster.start())
        }
      ],
      [
        2,
        () => {
          if (victim === undefined) return
          const ms = random.pick([50, 700, 3000, 14_000])
          this.hasLostInstances = true
          this.#note(`stalls ${victim.name} for ${ms} ms`)
          victim.process.isStalled = true
          if (ms >= 3000) history.stalls.push({ instance: victim.name, at: loop.now })
          this.#after(ms, () => {
            victim.process.isStalled = false
            this.#note(`${victim.name} goes on`)
          })
        }
      ],
      [
        1,
        () => {
          if (cluster.instances.length > instances) return
          this.#note("starts one more")
          cluster.start()
        }
      ]
    ])()
  }

  /** Everything is there again, and stays. */
  heal(): void {
    const { cluster, instances, weather } = this.#options
    this.#isOver = true
    this.#note("heals")
    weather.clear()
    weather.isOn = false
    cluster.resubscribe()
    for (const { process } of cluster.instances) process.isStalled = false
    const alive = cluster.instances.filter(({ state }) => state !== "stopping")
    for (let count = alive.length; count < instances; count++) cluster.start()
  }
}
