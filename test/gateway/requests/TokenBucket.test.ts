// The rate of one connection: what is served, what is refused, and what is owed for it.
import { assert, describe, it } from "@effect/vitest"
import { TokenBucket } from "../../../src/gateway/requests/TokenBucket.ts"

const taken = (bucket: TokenBucket, now: number, times: number) => {
  let served = 0
  for (let n = 0; n < times; n++) if (bucket.take(now) === 0) served++
  return served
}

describe("TokenBucket", () => {
  it("serves the burst at once, and the rate after it", () => {
    const bucket = new TokenBucket(50, 100, 0)
    assert.strictEqual(taken(bucket, 0, 150), 100)
    assert.strictEqual(bucket.take(0), 20)
    assert.strictEqual(taken(bucket, 1000, 150), 50)
    assert.strictEqual(taken(bucket, 1_000_000, 150), 100)
  })

  it("serves a client that waits as long as it was told, however much was refused meanwhile", () => {
    const bucket = new TokenBucket(50, 100, 0)
    taken(bucket, 0, 100)
    const wait = bucket.take(0)
    for (let n = 0; n < 1000; n++) bucket.refuse()
    assert.strictEqual(bucket.take(wait), 0)
  })

  it("refuses as many as the burst for nothing, then adds up what is owed", () => {
    const bucket = new TokenBucket(50, 100, 0)
    taken(bucket, 0, 100)
    for (let n = 0; n < 100; n++) bucket.refuse()
    assert.strictEqual(bucket.debtMs, 0)
    bucket.refuse()
    assert.strictEqual(bucket.debtMs, 20)
    for (let n = 0; n < 32_767; n++) bucket.refuse()
    assert.strictEqual(bucket.debtMs, 655_360)
    // Paying it takes as long as was said: nothing is forgiven.
    bucket.take(655_359)
    assert.isAbove(bucket.debtMs, 0)
    bucket.take(655_360)
    assert.strictEqual(bucket.debtMs, 0)
  })

  it("charges what needs no token to the tokens first", () => {
    const bucket = new TokenBucket(50, 100, 0)
    bucket.charge(0, 60)
    assert.strictEqual(taken(bucket, 0, 150), 40)
    bucket.charge(0, 150)
    assert.strictEqual(bucket.debtMs, 1000)
  })
})
