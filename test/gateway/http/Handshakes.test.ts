// The bound and the deadline of upgrades under way.
import { PassThrough } from "node:stream"
import { assert, describe, it } from "vitest"
import { Handshakes } from "../../../src/gateway/http/Handshakes.ts"

describe("handshakes", () => {
  const begin = (handshakes: Handshakes, now: number) => {
    const socket = new PassThrough()
    const given = { up: false }
    const began = handshakes.begin(socket, now, () => {
      given.up = true
      handshakes.refuse(socket, "no")
    })
    return { socket, given, began }
  }

  it("refuses the new one while the others are young, and gives up the one that waited too long else", () => {
    const handshakes = new Handshakes(() => 2)
    const first = begin(handshakes, 0)
    const second = begin(handshakes, 500)
    const third = begin(handshakes, 900)
    assert.deepEqual([first.began, second.began, third.began, first.given.up], [true, true, false, false])
    handshakes.refuse(third.socket, "no")
    const fourth = begin(handshakes, 1100)
    assert.deepEqual([fourth.began, first.given.up, second.given.up], [true, true, false])
    assert.deepEqual([handshakes.checking, handshakes.isChecking(first.socket)], [2, false])
  })

  it("destroys what is left after the deadline, and all at the end", () => {
    const handshakes = new Handshakes(() => 10)
    const old = begin(handshakes, 0)
    const refused = begin(handshakes, 100)
    const young = begin(handshakes, 9000)
    // Nobody reads the answer: it is never finished.
    refused.socket.cork()
    handshakes.refuse(refused.socket, "no")
    handshakes.sweep(10_050)
    assert.deepEqual([old.socket.destroyed, refused.socket.destroyed, young.socket.destroyed], [true, false, false])
    handshakes.sweep(10_100)
    assert.isTrue(refused.socket.destroyed)
    handshakes.destroyAll()
    assert.isTrue(young.socket.destroyed)
  })
})
