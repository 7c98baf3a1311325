// Signals for a client that reads slowly: the last of each key, once everything else was read.
import { assert, describe, it } from "vitest"
import { WaitingSignals } from "../../../src/gateway/connection/WaitingSignals.ts"
import { until } from "../../support/Until.ts"

describe("WaitingSignals", () => {
  const over = () => {
    const state = { isOpen: true, isIdle: false, asked: 0 }
    const written: Array<string> = []
    const waiting = new WaitingSignals({
      isOpen: () => state.isOpen,
      isIdle: () => {
        state.asked++
        return state.isIdle
      },
      write: (frame) => void written.push(frame.toString())
    })
    const add = (key: string, text: string) => waiting.add(key, Buffer.from(text))
    return { state, written, waiting, add }
  }

  it("writes the last of each key, in the order they came, when nothing else waits", async () => {
    const { add, state, waiting, written } = over()
    add("a", "a1")
    add("b", "b1")
    add("a", "a2")
    await until(() => state.asked > 1, "a look that found it busy")
    assert.deepEqual(written, [])
    state.isIdle = true
    await until(() => waiting.isEmpty, "all of it")
    assert.deepEqual(written, ["b1", "a2"])
  })

  it("keeps the newest keys of very many", async () => {
    const { add, state, waiting, written } = over()
    for (let n = 0; n < 100; n++) add(`${n}`, `${n}`)
    state.isIdle = true
    await until(() => waiting.isEmpty, "all of it")
    assert.deepEqual([written.length, written[0], written.at(-1)], [64, "36", "99"])
  })

  it("drops them when the connection has ended", async () => {
    const { add, state, waiting, written } = over()
    add("a", "a1")
    state.isOpen = false
    await until(() => waiting.isEmpty, "none of it")
    assert.deepEqual(written, [])
  })
})
