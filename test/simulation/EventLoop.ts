// A deterministic event loop: it owns every task that is ready and every timer of all processes of a simulation, and
// picks the next task by a seed. Nothing of it waits: when no task is ready, time jumps to the next timer. A run is one
// synchronous call, so that nothing from outside of it can come in between.
//
// A process stands for an instance (or for what is no instance: the stores, the clients). Its fibers run under its
// scheduler and its clock. Tasks of one dispatcher, which is a fiber's, run in their order; which dispatcher comes next
// is the seed's choice, as is after how many operations a fiber is made to yield. A process that is stalled runs
// nothing while time goes on; a process that is dead runs nothing any more, not even its finalizers.
import { Clock, Context, Duration, Effect, Scheduler } from "effect"
import type { Random } from "../support/Random.ts"
import { type Timer, Timers } from "./Timers.ts"

type Task = () => void

/** Tasks that run in the order they came. */
export class Lane {
  readonly process: SimulatedProcess
  #tasks: Array<Task> = []
  #next = 0

  constructor(process: SimulatedProcess) {
    this.process = process
  }

  get isEmpty(): boolean {
    return this.#next === this.#tasks.length
  }

  push(task: Task): void {
    if (this.process.isDead) return
    if (this.isEmpty) this.process.ready.push(this)
    this.#tasks.push(task)
  }

  take(): Task {
    const task = this.#tasks[this.#next++]
    if (task === undefined) throw new Error("an empty lane was ready")
    if (this.isEmpty) {
      this.#tasks = []
      this.#next = 0
    }
    return task
  }
}

/** What is under way from one end to another: it takes time, and arrives in the order in which it was sent. */
export class Way {
  readonly #lane: Lane
  #last = 0
  #underWay = 0

  constructor(to: SimulatedProcess) {
    this.#lane = new Lane(to)
  }

  get isEmpty(): boolean {
    return this.#underWay === 0
  }

  send(delayMs: number, task: Task): () => void {
    const { process } = this.#lane
    const { loop } = process
    this.#last = Math.max(loop.now + delayMs, this.#last)
    this.#underWay++
    let isOver = false
    const over = () => {
      if (!isOver) this.#underWay--
      isOver = true
    }
    const arrive = () => {
      over()
      task()
    }
    const cancel = loop.after(process, this.#last - loop.now, arrive, this.#lane)
    return () => {
      over()
      cancel()
    }
  }
}

/** What runs together, stalls together and dies together. */
export class SimulatedProcess {
  readonly name: string
  readonly loop: EventLoop
  /** The lanes that have a task. */
  readonly ready: Array<Lane> = []
  isStalled = false
  isDead = false
  /** The clock of this process is so far from the clock of the others, in ms. */
  readonly skewMs: number
  readonly #immediates: Lane
  #untilYield = 0

  constructor(name: string, loop: EventLoop, skewMs: number) {
    this.name = name
    this.loop = loop
    this.skewMs = skewMs
    this.#immediates = new Lane(this)
    this.#untilYield = loop.nextYield()
  }

  kill(): void {
    this.isDead = true
    this.ready.length = 0
  }

  /** In the order of their calls, as setImmediate does. */
  immediate(task: Task): void {
    this.#immediates.push(task)
  }

  /** Among all that is ready. */
  post(task: Task): void {
    new Lane(this).push(task)
  }

  readonly scheduler: Scheduler.Scheduler = {
    executionMode: "async",
    shouldYield: () => {
      if (--this.#untilYield > 0) return false
      this.#untilYield = this.loop.nextYield()
      return true
    },
    makeDispatcher: () => {
      const lane = new Lane(this)
      return {
        scheduleTask: (task) => lane.push(task),
        flush: () => {
          throw new Error("a simulated fiber can't be run at once")
        }
      }
    }
  }

  readonly clock: Clock.Clock = makeClock(this)

  /** Under this context fibers run in this process. */
  readonly context: Context.Context<never> = Context.empty().pipe(
    Context.add(Scheduler.Scheduler, this.scheduler),
    Context.add(Clock.Clock, this.clock)
  )

  /** Starts a fiber in this process. */
  readonly fork = Effect.runForkWith(this.context)
}

const makeClock = (process: SimulatedProcess): Clock.Clock => {
  const millis = () => process.loop.now + process.skewMs
  const nanos = () => BigInt(Math.round(millis() * 1000)) * 1000n
  const monotonic = () => BigInt(Math.round(process.loop.now * 1000)) * 1000n
  return {
    currentTimeMillisUnsafe: () => Math.floor(millis()),
    currentTimeMillis: Effect.sync(() => Math.floor(millis())),
    currentTimeNanosUnsafe: nanos,
    currentTimeNanos: Effect.sync(nanos),
    monotonicTimeNanosUnsafe: monotonic,
    monotonicTimeNanos: Effect.sync(monotonic),
    sleep: (duration) => {
      const ms = Duration.toMillis(duration)
      if (ms <= 0) return Effect.yieldNow
      if (!Number.isFinite(ms)) return Effect.never
      return Effect.callback<void>((resume) => {
        const cancel = process.loop.after(process, ms, () => resume(Effect.void))
        return Effect.sync(cancel)
      })
    }
  }
}

export interface LoopOptions {
  readonly random: Random
  /** Milliseconds since 1970. */
  readonly startAt: number
  /** A fiber is made to yield after 1 to so many operations. */
  readonly maxOperations: number
}

export class EventLoop {
  now: number
  readonly startedAt: number
  /** Tasks that were run. */
  steps = 0
  /** The process whose task runs. */
  current: SimulatedProcess
  readonly random: Random
  readonly #processes: Array<SimulatedProcess> = []
  readonly #timers = new Timers()
  readonly #maxOperations: number
  #micro: Array<Task> = []
  #order = 0

  constructor({ maxOperations, random, startAt }: LoopOptions) {
    this.random = random
    this.now = startAt
    this.startedAt = startAt
    this.#maxOperations = maxOperations
    this.current = this.process("world")
  }

  process(name: string, skewMs = 0): SimulatedProcess {
    const made = new SimulatedProcess(name, this, skewMs)
    this.#processes.push(made)
    return made
  }

  nextYield(): number {
    return 1 + this.random.below(this.#maxOperations)
  }

  /**
   * Runs the task later, in its process; returns what cancels it. Without a lane it runs in any order with others that
   * are due at that time.
   */
  after(process: SimulatedProcess, ms: number, task: Task, lane?: Lane): () => void {
    const timer: Timer = { at: this.now + Math.max(0, ms), order: this.#order++, process, lane, task }
    this.#timers.push(timer)
    return () => {
      timer.task = undefined
    }
  }

  /** After the task that runs now, before any other. */
  micro(task: Task): void {
    this.#micro.push(task)
  }

  #runMicro(): void {
    for (let index = 0; index < this.#micro.length; index++) this.#micro[index]?.()
    if (this.#micro.length > 0) this.#micro = []
  }

  /** One of the lanes that have a task and whose process runs. */
  #pick(): Lane | undefined {
    let count = 0
    for (const process of this.#processes) if (!process.isStalled) count += process.ready.length
    if (count === 0) return undefined
    let index = count === 1 ? 0 : this.random.below(count)
    for (const { isStalled, ready } of this.#processes) {
      if (isStalled) continue
      const lane = ready[index]
      if (lane !== undefined) {
        const last = ready.pop()
        if (last !== undefined && last !== lane) ready[index] = last
        return lane
      }
      index -= ready.length
    }
    return undefined
  }

  #step(lane: Lane): void {
    this.steps++
    this.current = lane.process
    const task = lane.take()
    // Before the task, which may add to its lane.
    if (!lane.isEmpty) lane.process.ready.push(lane)
    task()
    this.#runMicro()
  }

  /** Runs until the time is `end`, or `isDone`; false: it did neither within `maxSteps`. */
  runUntil(end: number, isDone: () => boolean, maxSteps: number): boolean {
    const last = this.steps + maxSteps
    while (this.steps < last) {
      const lane = this.#pick()
      if (lane !== undefined) {
        this.#step(lane)
        if (isDone()) return true
        continue
      }
      const timer = this.#timers.first
      if (timer === undefined || timer.at > end) {
        this.now = end
        return true
      }
      this.now = Math.max(this.now, timer.at)
      for (let due: Timer | undefined = timer; due !== undefined && due.at <= this.now; due = this.#timers.first) {
        this.#timers.shift()
        if (due.task === undefined || due.process.isDead) continue
        if (due.lane === undefined) due.process.post(due.task)
        else due.lane.push(due.task)
      }
    }
    return false
  }
}
