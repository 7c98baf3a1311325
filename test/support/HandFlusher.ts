// A flusher whose steps a test takes one by one, and that it may abandon after any of them.
import { Effect } from "effect"
import type { Dirty } from "../../src/storage/buffer/WriteBuffer.ts"
import type { Buffered } from "./BufferLayers.ts"

type State =
  | { readonly step: "idle" }
  | { readonly step: "claimed"; readonly rooms: ReadonlyArray<string> }
  | { readonly step: "read" | "saved"; readonly read: ReadonlyArray<readonly [roomId: string, dirty: Dirty]> }

export class HandFlusher {
  #state: State = { step: "idle" }
  readonly #buffered: Pick<Buffered, "buffer" | "durable">

  constructor(buffered: Pick<Buffered, "buffer" | "durable">) {
    this.#buffered = buffered
  }

  /** It dies: what it knew is gone, what it had claimed stays claimed. */
  crash() {
    this.#state = { step: "idle" }
  }

  /** Its next step; when that fails it stays where it is. Rooms are settled one by one. */
  readonly step = (all: boolean, leaseMs: number) =>
    Effect.gen({ self: this }, function* () {
      const { buffer, durable } = this.#buffered
      const state = this.#state
      switch (state.step) {
        case "idle":
          this.#state = { step: "claimed", rooms: yield* buffer.claim({ all, leaseMs }) }
          return
        case "claimed": {
          const dirty = (roomId: string) => Effect.map(buffer.dirty(roomId), (found) => [roomId, found] as const)
          this.#state = { step: "read", read: yield* Effect.forEach(state.rooms, dirty) }
          return
        }
        case "read":
          yield* durable.flush.save({
            documents: state.read.flatMap(([roomId, { documents }]) => documents.map((one) => ({ ...one, roomId }))),
            messages: state.read.flatMap(([, { messages }]) => messages)
          })
          this.#state = { ...state, step: "saved" }
          return
        case "saved": {
          const [first, ...rest] = state.read
          if (first !== undefined) yield* buffer.settle(...first)
          this.#state = rest.length === 0 ? { step: "idle" } : { step: "saved", read: rest }
        }
      }
    })
}
