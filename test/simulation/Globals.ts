// Node's own ways to run something later, to know the time and to draw random numbers, as a simulation has them: the
// event loop's. What `src` and its dependencies ask outside of Effect is answered from here while a run lasts:
// setImmediate (Slices, Lingering, Connection), process.nextTick (SendQueue), queueMicrotask (WriteOrder), setTimeout
// and performance.now (lru-cache), Date.now (uuidV7Unsafe, RoomFeed), Math.random (jitter), randomUUID and
// getRandomValues (ids and tokens), monitorEventLoopDelay (Metrics).
import crypto from "node:crypto"
import { syncBuiltinESMExports } from "node:module"
import perfHooks from "node:perf_hooks"
import type { Random } from "../support/Random.ts"
import type { EventLoop } from "./EventLoop.ts"

const hex = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"))

const makeUuid = (random: Random) => () => {
  let text = ""
  for (let index = 0; index < 16; index++) {
    if (index === 4 || index === 6 || index === 8 || index === 10) text += "-"
    const byte = random.below(256)
    text += hex[index === 6 ? (byte & 0x0f) | 0x40 : index === 8 ? (byte & 0x3f) | 0x80 : byte]
  }
  return text
}

const noDelay = { enable: () => true, disable: () => true, percentile: () => 0, reset: () => {}, max: 0 }

/** Runs `body` while these are the event loop's. */
export const withGlobals = <A>(loop: EventLoop, random: Random, body: () => A): A => {
  const unref = { ref: () => unref, unref: () => unref, hasRef: () => false }
  const later = (task: (...args: ReadonlyArray<unknown>) => void, ms = 0, ...args: ReadonlyArray<unknown>) => ({
    ...unref,
    cancel: loop.after(loop.current, Math.max(1, ms), () => task(...args))
  })
  const cancel = (timer: unknown) => {
    if (typeof timer === "object" && timer !== null && "cancel" in timer && typeof timer.cancel === "function")
      timer.cancel()
  }
  const values: Array<readonly [target: object, name: string, value: unknown]> = [
    [globalThis, "setTimeout", later],
    [globalThis, "clearTimeout", cancel],
    [
      globalThis,
      "setImmediate",
      (task: (...args: ReadonlyArray<unknown>) => void, ...args: ReadonlyArray<unknown>) => {
        loop.current.immediate(() => task(...args))
        return unref
      }
    ],
    [globalThis, "queueMicrotask", (task: () => void) => loop.micro(task)],
    [
      process,
      "nextTick",
      (task: (...args: ReadonlyArray<unknown>) => void, ...args: ReadonlyArray<unknown>) =>
        loop.micro(() => task(...args))
    ],
    [Date, "now", () => Math.floor(loop.now + loop.current.skewMs)],
    [performance, "now", () => loop.now - loop.startedAt],
    [Math, "random", random.next],
    [crypto, "randomUUID", makeUuid(random)],
    [
      globalThis.crypto,
      "getRandomValues",
      (bytes: Uint8Array) => {
        for (let index = 0; index < bytes.length; index++) bytes[index] = random.below(256)
        return bytes
      }
    ],
    [perfHooks, "monitorEventLoopDelay", () => noDelay]
  ]
  const before = values.map(([target, name]) => Object.getOwnPropertyDescriptor(target, name))
  for (const [target, name, value] of values)
    Object.defineProperty(target, name, { value, configurable: true, writable: true })
  syncBuiltinESMExports()
  try {
    return body()
  } finally {
    for (const [index, [target, name]] of values.entries()) {
      const descriptor = before[index]
      if (descriptor === undefined) Reflect.deleteProperty(target, name)
      else Object.defineProperty(target, name, descriptor)
    }
    syncBuiltinESMExports()
  }
}
