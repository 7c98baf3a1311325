// The border between an instance and what it shares with others: stores, bus, upstream. Every call of a port crosses it
// twice, and the simulation decides what happens on the way: how long each way takes, whether the call arrives, and
// whether its answer does. What a call does happens outside of the instance, in one step: an instance that dies, stalls or
// gives up meanwhile changes nothing about it.
import { Clock, Context, Effect, type Exit, Scheduler } from "effect"

import { type SimulatedProcess, Way } from "./EventLoop.ts"
import type { Trace } from "./Trace.ts"

export type Group = "redis" | "postgres" | "upstream"

/** What happens to one call. */
export interface Passage {
  /** How long the call is under way, ms; undefined: it never arrives. */
  readonly there: number | undefined
  /** How long the answer is under way, ms; undefined: it never arrives. */
  readonly back: number | undefined
  /** The link is known to be down: it fails at once, without being sent. */
  readonly isRefused: boolean
}

export interface Crossing {
  readonly process: SimulatedProcess
  readonly group: Group
  readonly port: string
  readonly method: string
}

export interface BoundaryOptions {
  readonly world: SimulatedProcess
  /** Undefined: there is nothing between them now. */
  readonly passage: (crossing: Crossing) => Passage | undefined
  readonly trace: Trace["note"]
  /** A call was done. `isKnown`: its instance learns of it: it lives, waits for it still, and the answer is not lost. */
  readonly answeredTo: (crossing: Crossing, args: ReadonlyArray<unknown>, isKnown: boolean) => void
  /** A call was not answered in time, or not sent. */
  readonly failed: (crossing: Crossing, args: ReadonlyArray<unknown>) => void
}

/** When nothing is between them, a command still comes after those that are under way on its connection. */
const atOnce: Passage = { there: 0, back: 0, isRefused: false }

/** True for what is done on the other side: a store may use another one there. */
const Inside = Context.Reference<boolean>("hotpath/simulation/Inside", { defaultValue: () => false })

type Call = (...args: ReadonlyArray<never>) => Effect.Effect<ReadonlyArray<unknown>, unknown>

export type Around = (
  method: string
) => (args: ReadonlyArray<unknown>) => <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

const shown = (value: unknown) => {
  const text = JSON.stringify(value, (_name, one) => (one instanceof Map ? [...one] : one)) ?? ""
  return text.replaceAll(/"(\w+)":/g, "$1:")
}

/** How an instance is connected with what it shares. */
const noted: ReadonlySet<string> = new Set(["MessageStore.send", "WriteBuffer.append"])
const isNoted = ({ method, port }: Crossing) => noted.has(`${port}.${method}`)

export class Boundary {
  readonly process: SimulatedProcess
  readonly #options: BoundaryOptions
  /** Commands to Redis are on one connection: they arrive in their order, and so do their answers. */
  readonly #toRedis: Way
  readonly #fromRedis: Way
  /** Commands to Redis that arrived, and whose answers were not sent. */
  #atRedis = 0

  constructor(process: SimulatedProcess, options: BoundaryOptions) {
    this.process = process
    this.#options = options
    this.#toRedis = new Way(options.world)
    this.#fromRedis = new Way(process)
  }

  /** The service, whose `method` answers late when all is quiet and there is nothing. */
  patient<Name extends string, S extends { readonly [_ in Name]: Call }>(method: Name, service: S): S {
    const { passage } = this.#options
    const crossing: Crossing = { process: this.process, group: "redis", port: "", method }
    const late = (found: ReadonlyArray<unknown>) =>
      found.length === 0 && passage(crossing) === undefined ? Effect.sleep(patienceMs) : Effect.void
    return { ...service, [method]: (...args: ReadonlyArray<never>) => Effect.tap(service[method](...args), late) }
  }

  /** `away`: the error of a call that was not sent, or that was not answered within `timeoutMs`. */
  readonly around = (port: string, group: Group, timeoutMs: number, away: (isSent: boolean) => unknown): Around => {
    const { process } = this
    const { answeredTo, failed, passage, trace, world } = this.#options
    const { loop } = process
    const ordered = group === "redis"
    return (method) => {
      const name = `${port}.${method}`
      const crossing: Crossing = { process, group, port, method }
      return (args) =>
        <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
          Effect.withFiber((fiber) => {
            if (Context.get(fiber.context, Inside)) return effect
            const isFirst = !ordered || (this.#toRedis.isEmpty && this.#atRedis === 0 && this.#fromRedis.isEmpty)
            const passed = passage(crossing) ?? (isFirst ? undefined : atOnce)
            // What passes at once is noted as well.
            if (passed === undefined)
              return isNoted(crossing)
                ? Effect.tap(effect, () => Effect.sync(() => answeredTo(crossing, args, true)))
                : effect
            const context = fiber.context.pipe(
              Context.add(Inside, true),
              Context.add(Scheduler.Scheduler, world.scheduler),
              Context.add(Clock.Clock, world.clock)
            ) as Context.Context<never>
            return Effect.callback<A, E>((resume) => {
              if (process.isDead) return
              const fail = (isSent: boolean) => {
                failed(crossing, args)
                return Effect.fail(away(isSent) as E)
              }
              const { back, isRefused, there } = passed
              if (isRefused) {
                trace(process, `${name} not sent`)
                return process.post(() => resume(fail(false)))
              }
              const timers: Array<() => void> = []
              let answer: Exit.Exit<A, E> | undefined
              let isSettled = false
              const settle = () => {
                if (isSettled) return
                isSettled = true
                for (const cancel of timers) cancel()
                if (answer === undefined) trace(process, `${name} timed out`)
                resume(answer ?? fail(true))
              }
              const answered = (exit: Exit.Exit<A, E>) => {
                if (ordered) this.#atRedis--
                answeredTo(crossing, args, !process.isDead && !isSettled && back !== undefined)
                trace(
                  process,
                  exit._tag === "Success" ? name : `${name} failed`,
                  () => `${shown(args)} → ${shown(exit)}`
                )
                if (back === undefined) return
                const arrive = () => {
                  answer = exit
                  settle()
                }
                timers.push(ordered ? this.#fromRedis.send(back, arrive) : loop.after(process, back, arrive))
              }
              const perform = () => {
                if (ordered) this.#atRedis++
                const running = Effect.runForkWith(context)(effect as Effect.Effect<A, E>)
                running.addObserver(answered)
              }
              if (there !== undefined) {
                if (ordered) this.#toRedis.send(there, perform)
                else loop.after(world, there, perform)
              }
              if (Number.isFinite(timeoutMs)) timers.push(loop.after(process, timeoutMs, settle))
              return Effect.sync(() => {
                isSettled = true
                for (const cancel of timers) cancel()
              })
            })
          })
    }
  }
}

/** How long an answer without content may take once all is quiet: nothing is missed, and less is polled. */
const patienceMs = 450

/** The service with each of its effects, and of its functions that return one, going through `around`. */
export const intercept = <S extends object>(service: S, around: Around, untouched: ReadonlySet<string>): S => {
  const wrapped = Object.entries(service).map(([name, operation]: [string, unknown]): [string, unknown] => {
    if (untouched.has(name)) return [name, operation]
    const through = around(name)
    if (Effect.isEffect(operation)) return [name, through([])(operation)]
    if (typeof operation !== "function") return [name, operation]
    return [
      name,
      (...args: ReadonlyArray<unknown>) => {
        const made: unknown = Reflect.apply(operation, service, args)
        return Effect.isEffect(made) ? through(args)(made) : made
      }
    ]
  })
  return Object.fromEntries(wrapped) as S
}
