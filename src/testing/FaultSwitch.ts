// Puts a fault in front of services while a test runs: it is switched on, off and replaced, counts the calls and the
// faults that it gave, and says when the services are away and back. One switch may be in front of several services,
// and of several instances; two switches may be in front of one service.
import { Clock, Effect, type Scope } from "effect"
import { makeListeners } from "../infra/Listeners.ts"
import { type Fault, none } from "./Fault.ts"
import { type Step, start } from "./FaultRun.ts"
import type { Around, Intercepted } from "./Intercept.ts"

/** What a service fails with. */
export interface FaultErrors {
  /** `notDone`: nothing happened. `unknown`: it may have been done, and the answer is lost. */
  readonly error: (outcome: "notDone" | "unknown", call: Intercepted) => unknown
  /** The deadline of a call, and what it fails with then. Undefined: it waits until it is interrupted. */
  readonly deadline?: (call: Intercepted) => { readonly ms: number; readonly error: unknown } | undefined
}

type AnyEffect = Effect.Effect<unknown, unknown, unknown>

/** Interruptible also where the caller is not: a finalizer that calls must not wait for ever. */
const hang = Effect.interruptible(Effect.never)

const meet = (step: Step, effect: AnyEffect, call: Intercepted, { error }: FaultErrors): AnyEffect => {
  switch (step._tag) {
    case "Fail":
      return Effect.suspend(() => Effect.fail(error("notDone", call)))
    case "Hang":
      return hang
    case "Delay":
      return step.isDone
        ? Effect.flatMap(Effect.exit(effect), (exit) => Effect.andThen(Effect.sleep(step.ms), exit))
        : Effect.delay(effect, step.ms)
    case "Lose": {
      const lost = Effect.suspend(() => (step.hangs ? hang : Effect.fail(error("unknown", call))))
      // A refusal is an answer as well. A defect or an interruption is not: it passes.
      return Effect.matchEffect(effect, { onSuccess: () => lost, onFailure: () => lost })
    }
  }
}

const add = (counts: Map<string, number>, method: string) => counts.set(method, (counts.get(method) ?? 0) + 1)
const sum = (counts: ReadonlyMap<string, number>, method: string | undefined) =>
  method === undefined ? [...counts.values()].reduce((all, one) => all + one, 0) : (counts.get(method) ?? 0)

export class FaultSwitch {
  #fault: Fault
  #run: ReturnType<typeof start>
  /** The clock of who used this last. */
  #clock: Clock.Clock | undefined
  /** When the fault was switched on: undefined before the first use. */
  #since: number | undefined
  #wasAway = false
  #returnCount = 0
  readonly #calls = new Map<string, number>()
  readonly #given = new Map<string, number>()
  readonly #returns = makeListeners()
  readonly #watchers = new Set<() => void>()

  constructor(fault: Fault = none) {
    this.#fault = fault
    this.#run = start(fault)
  }

  /** The fault that is on. */
  get fault(): Fault {
    return this.#fault
  }

  /** Replaces the fault. The new one's time, counts and seed begin now. */
  set(fault: Fault): Effect.Effect<void> {
    return this.#use(() => {
      this.#fault = fault
      this.#run = start(fault)
      this.#since = this.#clock?.currentTimeMillisUnsafe()
      this.#notice()
    })
  }

  /** Every call goes through from now on. A call that hangs already goes on to hang. */
  readonly off: Effect.Effect<void> = Effect.suspend(() => this.set(none))

  /** Has the fault on while the effect runs; afterwards the one that was on before. */
  readonly while =
    (fault: Fault) =>
    <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
      Effect.suspend(() => {
        const before = this.#fault
        return Effect.acquireUseRelease(
          this.set(fault),
          () => effect,
          () => this.set(before)
        )
      })

  /** How many calls arrived, of one method or of all. */
  calls(method?: string): number {
    return sum(this.#calls, method)
  }

  /** How many faults were given. */
  given(method?: string): number {
    return sum(this.#given, method)
  }

  /** Waits until so many calls have arrived since this was made. */
  called(times = 1, method?: string): Effect.Effect<void> {
    return this.#until(() => this.calls(method) >= times)
  }

  /** Waits until so many faults were given since this was made. */
  met(times = 1, method?: string): Effect.Effect<void> {
    return this.#until(() => this.given(method) >= times)
  }

  /** Whether every call fails or hangs now. */
  isAway(): boolean {
    return this.#run.isAway(this.#ms())
  }

  /** Completes when the services are not away: at once, or when they are back. */
  readonly back: Effect.Effect<void> = Effect.suspend(() => this.#when(() => !this.isAway()))

  /** How often the services were away and came back. */
  get returns(): number {
    return this.#returnCount
  }

  /** Waits until they came back so often. */
  returned(times = 1): Effect.Effect<void> {
    return this.#until(() => this.#returnCount >= times)
  }

  /** Calls the listener each time the services were away and are back, before any call goes through. */
  readonly onReturn = (listener: () => void): Effect.Effect<void, never, Scope.Scope> => this.#returns.add(listener)

  /** Notices a return that time brings, also without a call. */
  readonly watch: Effect.Effect<never> = Effect.suspend(() =>
    Effect.forever(
      Effect.andThen(
        this.#when(() => this.isAway()),
        this.back
      )
    )
  )

  /** Puts this switch's fault in front of effects: of the services whose errors these are. */
  around(errors: FaultErrors): Around {
    return (call) => (effect) =>
      Effect.flatMap(
        this.#use(() => {
          add(this.#calls, call.method)
          const steps = this.#run.meets(call.method, this.#ms())
          if (steps.length > 0) add(this.#given, call.method)
          return steps
        }),
        (steps) => {
          if (steps.length === 0) return effect
          const faulty = steps.reduceRight((inner, step) => meet(step, inner, call, errors), effect)
          const deadline = errors.deadline?.(call)
          if (deadline === undefined) return faulty
          return Effect.timeoutOrElse(faulty, { duration: deadline.ms, orElse: () => Effect.fail(deadline.error) })
        }
      )
  }

  /** One step, at the clock's present time. */
  #use<A>(step: () => A): Effect.Effect<A> {
    return Clock.clockWith((clock) =>
      Effect.sync(() => {
        this.#clock = clock
        this.#since ??= clock.currentTimeMillisUnsafe()
        this.#notice()
        const result = step()
        for (const watcher of [...this.#watchers]) watcher()
        return result
      })
    )
  }

  #ms(): number {
    const now = this.#clock?.currentTimeMillisUnsafe() ?? 0
    return now - (this.#since ?? now)
  }

  #notice(): void {
    const isAway = this.isAway()
    const isReturn = this.#wasAway && !isAway
    this.#wasAway = isAway
    if (!isReturn) return
    this.#returnCount++
    this.#returns.notify()
  }

  #until(isIt: () => boolean): Effect.Effect<void> {
    return Effect.callback((resume) => {
      const watcher = () => {
        if (!isIt()) return
        this.#watchers.delete(watcher)
        resume(Effect.void)
      }
      this.#watchers.add(watcher)
      watcher()
      return Effect.sync(() => void this.#watchers.delete(watcher))
    })
  }

  /** As `#until`, for what depends on the time as well. */
  #when(isIt: () => boolean): Effect.Effect<void> {
    return Effect.flatMap(
      this.#use(() => (isIt() ? undefined : this.#run)),
      (run) => {
        if (run === undefined) return Effect.void
        const changed = this.#until(() => isIt() || this.#run !== run)
        const ms = this.#ms()
        const next = run.nextChange(ms)
        const due = next === Number.POSITIVE_INFINITY ? Effect.never : Effect.sleep(next - ms)
        return Effect.andThen(
          Effect.raceFirst(due, changed),
          Effect.suspend(() => this.#when(isIt))
        )
      }
    )
  }
}
