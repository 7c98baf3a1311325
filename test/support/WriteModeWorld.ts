// Instances of the write mode's state machine over a model of Redis, Postgres and the table of leases, in simulated time.
// Every action takes effect at one moment and is answered at a later one, so that actions of instances interleave.
import { assert } from "@effect/vitest"
import {
  type Action,
  areOthersGone,
  type Event,
  initial,
  isSaved,
  leaseAt,
  mayBypass,
  type State,
  step
} from "../../src/storage/buffer/WriteModeState.ts"
import { writeModeTimings } from "../../src/storage/buffer/WriteModeTimings.ts"
import type { Random } from "./Random.ts"

export const timings = writeModeTimings(500)
/** How long a server that is there takes, at the most. */
const answerMs = 60

interface Instance {
  readonly name: string
  state: State
  isProbing: boolean
  reachesRedis: boolean
  stalledUntil: number
  /** The incarnation of Redis that it has seen. */
  seen: number | undefined
  readonly acknowledged: Set<number>
  readonly inFlight: Set<number>
  /** What it had acknowledged when it began to save it, or to flush everything. */
  toSave: ReadonlyArray<number>
}

export class WriteModeWorld {
  now = 0
  isPostgresUp = true
  incarnation = 1
  readonly instances: ReadonlyArray<Instance>
  readonly saved = new Set<number>()
  readonly counts = { buffered: 0, direct: 0, leases: 0 }
  readonly #random: Random
  #tasks: Array<{ readonly at: number; readonly run: () => void }> = []
  #writes = 0
  #buffer = new Set<number>()
  readonly #rows = new Map<string, { readonly incarnation: number; readonly until: number }>()
  #lease = { number: 0, incarnation: 0, began: 0 }

  constructor(count: number, random: Random) {
    this.#random = random
    this.instances = Array.from({ length: count }, (_, n) => ({
      name: `instance ${n}`,
      state: initial,
      isProbing: false,
      reachesRedis: true,
      stalledUntil: 0,
      seen: undefined,
      acknowledged: new Set<number>(),
      inFlight: new Set<number>(),
      toSave: []
    }))
    for (const one of this.instances) this.probe(one)
  }

  #later(ms: number, run: () => void) {
    this.#tasks.push({ at: this.now + ms, run })
  }

  advance(ms: number) {
    const end = this.now + ms
    for (;;) {
      const [next] = this.#tasks.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)
      if (next === undefined) break
      this.#tasks = this.#tasks.filter((task) => task !== next)
      this.now = Math.max(this.now, next.at)
      next.run()
    }
    this.now = end
  }

  send(one: Instance, event: Event): Action | undefined {
    const { action, state } = step(timings, one.state, event, this.now)
    one.state = state
    this.#check(one)
    return action
  }

  /** What is said to be saved is. */
  #check({ name, state, toSave }: Instance) {
    if (isSaved(state)) for (const id of toSave) assert.isTrue(this.saved.has(id), `${name}: a write is lost`)
  }

  probe(one: Instance) {
    if (one.isProbing) return
    one.isProbing = true
    const ended = () => {
      one.isProbing = false
      this.send(one, { _tag: "ProbeEnded" })
      const pause = one.state.mode._tag === "Redis" ? timings.renewMs : timings.retryMs
      if (one.state.mode._tag !== "Draining") this.#later(pause, () => this.probe(one))
    }
    const go = (event: Event | undefined) => {
      const action = event === undefined ? undefined : this.send(one, event)
      if (action === undefined) ended()
      else this.#perform(one, action, go)
    }
    go({ _tag: "ProbeDue" })
  }

  #perform(one: Instance, action: Action, go: (event: Event | undefined) => void) {
    /** Answers when this is not stalled. */
    const answer = (ms: number, event: Event | undefined) =>
      this.#later(ms, () => {
        const left = one.stalledUntil - this.now
        if (left > 0) answer(left, event)
        else go(event)
      })
    const effect = (isThere: () => boolean, patienceMs: number, failed: Event, done: () => Event | undefined) =>
      this.#later(this.#random.below(answerMs), () =>
        isThere() ? answer(this.#random.below(answerMs), done()) : answer(this.#random.below(patienceMs), failed)
      )
    const isPostgresUp = () => this.isPostgresUp
    const failed: Event = { _tag: "Failed" }
    const save = (ids: Iterable<number>) => {
      for (const id of ids) this.saved.add(id)
    }
    const flush = () => {
      save(this.#buffer)
      this.#buffer.clear()
    }
    if (action._tag === "Save" || action._tag === "Prepare") one.toSave = [...one.acknowledged]
    switch (action._tag) {
      case "Probe":
        return effect(
          () => one.reachesRedis,
          timings.redisTimeoutMs,
          { _tag: "BufferAway" },
          () => {
            const isNewIncarnation = one.seen !== undefined && one.seen !== this.incarnation
            one.seen ??= this.incarnation
            return { _tag: "BufferReached", isNewIncarnation }
          }
        )
      case "Rescue": {
        // A connection to another incarnation is another connection.
        one.inFlight.clear()
        return effect(isPostgresUp, timings.patienceMs, failed, () => {
          save(one.acknowledged)
          one.seen = this.incarnation
          return { _tag: "Rescued" }
        })
      }
      case "Lease": {
        const askedAt = this.now + action.afterMs
        return this.#later(action.afterMs, () =>
          effect(
            isPostgresUp,
            timings.patienceMs,
            { _tag: "LeaseDenied" },
            () => this.#askLease(one, askedAt) ?? { _tag: "LeaseDenied" }
          )
        )
      }
      case "Prepare":
        return effect(
          () => this.isPostgresUp && one.reachesRedis && one.seen === this.incarnation,
          timings.patienceMs,
          failed,
          () => {
            flush()
            return { _tag: "Prepared", granted: action.granted }
          }
        )
      case "Flush":
        if (this.isPostgresUp && one.reachesRedis) flush()
        return go(undefined)
      case "Save": {
        // Commands are answered in order: the probe's failed, so did those before it.
        one.inFlight.clear()
        return effect(isPostgresUp, timings.patienceMs, failed, () => {
          save(one.toSave)
          return { _tag: "Saved" }
        })
      }
      case "Release":
        return effect(isPostgresUp, timings.patienceMs, failed, () => {
          this.#rows.delete(one.name)
          return { _tag: "Released" }
        })
      case "CheckOthers":
        return effect(isPostgresUp, timings.patienceMs, failed, () => ({
          _tag: "OthersChecked",
          areLeased: this.#live().some(([name]) => name !== one.name)
        }))
      case "Drain":
        return go(undefined)
    }
  }

  /** The number of the lease that lasts. */
  get lease(): number {
    return this.#lease.number
  }

  #live() {
    return [...this.#rows].filter(([, { until }]) => until >= this.now)
  }

  #askLease(one: Instance, askedAt: number): Event | undefined {
    const live = this.#live()
    const incarnation = one.seen ?? 0
    const isAgreed = live.every(([name, row]) => name === one.name || row.incarnation === incarnation)
    if (live.length === 0 || (isAgreed && this.#lease.incarnation !== incarnation)) {
      this.#lease = { number: this.#lease.number + 1, incarnation, began: this.now }
      this.counts.leases++
    }
    this.#rows.set(one.name, { incarnation, until: this.now + timings.ttlMs })
    if (!isAgreed) return undefined
    const isWhole = [...this.#rows.values()].every(({ until }) => until >= this.now)
    const { began, number } = this.#lease
    return { _tag: "LeaseGranted", granted: { lease: { number, ageMs: this.now - began, isAgreed, isWhole }, askedAt } }
  }

  /** Writes through the buffer, if this instance may. A write has its answer within two commands' time, or none. */
  writeBuffered(one: Instance) {
    if (leaseAt(one.state, this.now) === undefined || one.stalledUntil > this.now) return this.probe(one)
    const id = this.#writes++
    const { incarnation } = this
    one.inFlight.add(id)
    this.#later(this.#random.below(2 * timings.redisTimeoutMs), () => {
      if (!one.inFlight.delete(id) || !one.reachesRedis || incarnation !== this.incarnation) {
        this.send(one, { _tag: "Suspected" })
        return
      }
      this.#buffer.add(id)
      one.acknowledged.add(id)
      this.counts.buffered++
    })
  }

  /** Changes something directly, if this instance may: then no other one may acknowledge it. */
  writeDirectly(one: Instance) {
    const { now } = this
    if (one.stalledUntil > now || leaseAt(one.state, now) !== undefined || !isSaved(one.state)) return
    if (!this.isPostgresUp || !mayBypass(one.state, timings, now) || this.#live().length > 0) return
    for (const { inFlight, name, state } of this.instances) {
      assert.isUndefined(leaseAt(state, now), `${one.name} changes directly what ${name} may acknowledge`)
      assert.strictEqual(inFlight.size, 0, `${one.name} changes directly what ${name} is acknowledging`)
    }
    this.counts.direct++
  }

  /** Whether a direct read would find everything, as far as this instance knows. */
  readsDirectly(one: Instance): boolean {
    return isSaved(one.state) && areOthersGone(one.state, timings, this.now)
  }

  restartRedis() {
    this.incarnation++
    this.#buffer.clear()
    for (const one of this.instances) if (one.reachesRedis) this.send(one, { _tag: "Suspected" })
  }
}
