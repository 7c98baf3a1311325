// The state machine of who may write, without a layer: for any events, and for instances whose events interleave.
import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import {
  type Event,
  initial,
  isPaused,
  isSaved,
  leaseAt,
  type Mode,
  mayBypass,
  type State,
  step
} from "../../../src/storage/buffer/WriteModeState.ts"
import { violations, writeModeTimings } from "../../../src/storage/buffer/WriteModeTimings.ts"
import { makeRandom, type Random } from "../../support/Random.ts"
import { rounds } from "../../support/Soak.ts"
import { timings, WriteModeWorld } from "../../support/WriteModeWorld.ts"

const seed = Number(process.env["HOTPATH_MODE_SEED"] ?? Math.floor(Math.random() * 2 ** 31))
const runs = Number(process.env["HOTPATH_MODE_RUNS"] ?? rounds(100, 3000))
const seeds = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 2 ** 31 }))
const arbitrary = { runs, seed }
console.log(`HOTPATH_MODE_SEED=${seed} HOTPATH_MODE_RUNS=${runs}`)

const anyEvent = (random: Random, now: number): Event => {
  const lease = {
    number: 1 + random.below(3),
    ageMs: random.below(2 * timings.steadyMs),
    isAgreed: true,
    isWhole: random.chance(0.5)
  }
  const granted = { lease, askedAt: now - random.below(timings.patienceMs) }
  return random.pick<Event>([
    { _tag: "ProbeDue" },
    { _tag: "BufferAway" },
    { _tag: "BufferReached", isNewIncarnation: random.chance(0.2) },
    { _tag: "Rescued" },
    { _tag: "LeaseGranted", granted },
    { _tag: "LeaseGranted", granted },
    { _tag: "LeaseDenied", askedAt: granted.askedAt },
    { _tag: "Prepared", granted },
    { _tag: "Saved" },
    { _tag: "Released" },
    { _tag: "OthersChecked", areLeased: random.chance(0.5) },
    { _tag: "Failed" },
    { _tag: "ProbeEnded" },
    { _tag: "Suspected" }
  ])
}

/** Any events, with what each one led to. */
const walk = (random: Random, visit: (before: State, event: Event, after: State, now: number) => void) => {
  let state = initial
  let now = 0
  for (let count = 0; count < 200; count++) {
    now += random.below(random.pick([10, 300, 3000]))
    const event = anyEvent(random, now)
    const { state: after } = step(timings, state, event, now)
    visit(state, event, after, now)
    state = after
  }
  return { state, now }
}

/** The second table of WriteModeState.ts. */
const allowed: Readonly<Record<Mode["_tag"], ReadonlyArray<Mode["_tag"]>>> = {
  Postgres: ["Acquiring"],
  Acquiring: ["Redis", "Leaving"],
  Redis: ["Acquiring", "Leaving"],
  Leaving: ["Acquiring", "Postgres"],
  Draining: []
}

describe("the write mode's times", () => {
  it.prop(
    "hold together for every REDIS_TIMEOUT",
    [Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 60_000 }))],
    ([ms]) => {
      assert.deepEqual(violations(writeModeTimings(ms)), [])
    }
  )

  it("are named when they collide", () => {
    assert.deepEqual(violations({ ...timings, ttlMs: timings.grantedMs + 1000 }), [
      "ttlMs > grantedMs + 2 * redisTimeoutMs"
    ])
    assert.deepEqual(violations({ ...timings, steadyMs: timings.rejoinMs }), [
      "steadyMs >= patienceMs + unconfirmedMs + redisTimeoutMs"
    ])
    assert.include(violations({ ...timings, renewMs: 1100 }), "grantedMs >= renewMs + redisTimeoutMs + patienceMs")
  })
})

describe("the write mode", () => {
  it.prop(
    "changes only as the table says, and is saved only after Postgres, or a flush, said so",
    [seeds],
    ([seed]) => {
      walk(makeRandom(seed), (before, event, after) => {
        const [from, to] = [before.mode._tag, after.mode._tag]
        if (from !== to) assert.include(allowed[from], to, `${from} → ${to} by ${event._tag}`)
        if (!isSaved(before) && isSaved(after)) assert.include(["Saved", "Prepared"], event._tag)
      })
    },
    { arbitrary }
  )

  it.prop(
    "never writes through the buffer after the granted time",
    [seeds],
    ([seed]) => {
      const random = makeRandom(seed)
      let until = Number.NEGATIVE_INFINITY
      walk(random, (_, event, after, now) => {
        if (event._tag === "LeaseGranted" || event._tag === "Prepared")
          until = Math.max(until, event.granted.askedAt + timings.grantedMs)
        if (event._tag === "LeaseDenied")
          until = Math.max(until, Math.min(now, event.askedAt + timings.patienceMs) + timings.unconfirmedMs)
        if (event._tag === "Suspected") until = Number.NEGATIVE_INFINITY
        for (const at of [now, now + random.below(4000)])
          if (leaseAt(after, at) !== undefined) assert.isBelow(at, until, event._tag)
      })
    },
    { arbitrary }
  )

  it.prop(
    "goes on without Postgres only with a lease that it had and that no other number followed",
    [seeds],
    ([seed]) => {
      /** The last number that Postgres said, if it was used since and not released. */
      let own: number | undefined
      walk(makeRandom(seed), (before, event, after) => {
        const { mode } = after
        if (event._tag === "LeaseGranted" && ["Acquiring", "Redis"].includes(before.mode._tag))
          own = own === event.granted.lease.number ? own : undefined
        if (mode._tag === "Postgres" || (event._tag === "Rescued" && mode._tag === "Acquiring")) own = undefined
        if (mode._tag !== "Redis") return
        if (mode.lease.isConfirmed) own = mode.lease.number
        else assert.strictEqual(mode.lease.number, own)
      })
    },
    { arbitrary }
  )

  it("counts a denied lease no longer than it was granted, until all have noticed that Postgres is away", () => {
    let state = initial
    const send = (event: Event, now: number) => {
      state = step(timings, state, event, now).state
    }
    const granted = { lease: { number: 1, ageMs: 0, isAgreed: true, isWhole: true }, askedAt: 0 }
    send({ _tag: "BufferReached", isNewIncarnation: false }, 0)
    send({ _tag: "LeaseGranted", granted }, 0)
    send({ _tag: "Prepared", granted }, 0)
    // Postgres may be back at once, and no other instance have noticed: when the lease has run out they write directly.
    const asked = timings.grantedMs - 100
    send({ _tag: "LeaseDenied", askedAt: asked }, asked)
    assert.deepEqual(leaseAt(state, timings.grantedMs - 1), { number: 1, isConfirmed: false })
    assert.isUndefined(leaseAt(state, timings.grantedMs))
    assert.isTrue(isPaused(state, timings.grantedMs))
    const again = asked + timings.contactGapMs + 1
    send({ _tag: "LeaseDenied", askedAt: again }, again)
    assert.isFalse(isPaused(state, again))
    assert.deepEqual(leaseAt(state, again + timings.unconfirmedMs - 1), { number: 1, isConfirmed: false })
  })

  it.prop(
    "is left unconfirmed only for the lease's renewal, or for saving what it acknowledged",
    [seeds],
    ([seed]) => {
      walk(makeRandom(seed), (before, event, after, now) => {
        if (before.mode._tag !== "Redis" || before.mode.lease.isConfirmed) return
        if (after.mode._tag === "Leaving") assert.deepEqual(step(timings, before, event, now).action, { _tag: "Save" })
        assert.isFalse(isSaved(after))
      })
    },
    { arbitrary }
  )

  it.prop(
    "is draining for good",
    [seeds],
    ([seed]) => {
      const random = makeRandom(seed)
      const { now, state } = walk(random, () => {})
      const first = step(timings, state, { _tag: "ShutDown" }, now)
      assert.deepEqual(first.action, { _tag: "Drain" })
      let { state: draining } = first
      for (let count = 0; count < 50; count++) {
        const { action, state: next } = step(timings, draining, anyEvent(random, now), now + count)
        assert.strictEqual(next.mode._tag, "Draining")
        assert.isUndefined(action)
        assert.isUndefined(leaseAt(next, now))
        assert.isFalse(isSaved(next))
        draining = next
      }
    },
    { arbitrary }
  )
})

const totals = { buffered: 0, direct: 0, leases: 0 }

/** Two or three instances, under any sequence of faults. */
const makeWorld = (seed: number) => {
  const random = makeRandom(seed)
  const world = new WriteModeWorld(2 + random.below(2), random)
  const act = () => {
    const one = random.pick(world.instances)
    const what = random.weighted([
      [30, "write"],
      [30, "write directly"],
      [10, "time"],
      [3, "Redis"],
      [2, "Redis for all"],
      [2, "Postgres"],
      [1, "restart"],
      [1, "stall"],
      [2, "suspect"]
    ] as const)
    if (what === "write") world.writeBuffered(one)
    if (what === "write directly") world.writeDirectly(one)
    if (what === "time") world.advance(random.below(random.pick([200, 2000, 8000])))
    if (what === "Redis") one.reachesRedis = !one.reachesRedis
    if (what === "Redis for all") for (const each of world.instances) each.reachesRedis = one.reachesRedis
    if (what === "Postgres") world.isPostgresUp = !world.isPostgresUp
    if (what === "restart") world.restartRedis()
    if (what === "stall") one.stalledUntil = world.now + random.below(10_000)
    if (what === "suspect") world.send(one, { _tag: "Suspected" })
    world.advance(random.below(100))
  }
  const heal = (reachesRedis: boolean) => {
    world.isPostgresUp = true
    for (const one of world.instances) Object.assign(one, { reachesRedis, stalledUntil: 0 })
    world.advance(30_000)
  }
  const count = () => {
    for (const what of ["buffered", "direct", "leases"] as const) totals[what] += world.counts[what]
  }
  return { world, act, heal, count }
}

describe("instances in a write mode each", () => {
  it.prop(
    "never acknowledge in Redis and in Postgres at a time, and lose nothing that they take for saved",
    [seeds],
    ([seed]) => {
      const { act, count } = makeWorld(seed)
      for (let turn = 0; turn < 300; turn++) act()
      count()
    },
    { arbitrary, timeout: 600_000 }
  )

  it.prop(
    "share one confirmed lease once everything is back, or all write to Postgres where Redis is not",
    [seeds],
    ([seed]) => {
      const { act, heal, world } = makeWorld(seed)
      for (let turn = 0; turn < 100; turn++) act()
      heal(false)
      for (const one of world.instances) {
        assert.strictEqual(one.state.mode._tag, "Postgres")
        assert.isTrue(world.readsDirectly(one) && mayBypass(one.state, timings, world.now))
      }
      heal(true)
      const leases = world.instances.map(({ state }) => leaseAt(state, world.now))
      for (const lease of leases) assert.deepEqual(lease, { number: world.lease, isConfirmed: true })
    },
    { arbitrary, timeout: 600_000 }
  )

  it("have done something of everything", () => {
    console.log(`HOTPATH_MODE_SEED=${seed} HOTPATH_MODE_RUNS=${runs}: ${JSON.stringify(totals)}`)
    for (const done of Object.values(totals)) assert.isAbove(done, runs)
  })
})
