// One run: instances, users and what goes wrong, from one seed. The same seed gives the same run.
import { makeRandom, type Random } from "../support/Random.ts"
import { Cluster } from "./Cluster.ts"
import { EventLoop } from "./EventLoop.ts"
import { Weather } from "./Faults.ts"
import { withGlobals } from "./Globals.ts"
import { History, type Violation } from "./History.ts"
import { judge } from "./Invariants.ts"
import { Nemesis } from "./Nemesis.ts"
import { text } from "./RoomView.ts"
import { SimulatedClient } from "./SimulatedClient.ts"
import { Trace } from "./Trace.ts"
import { User } from "./Workload.ts"

export interface RunOptions {
  readonly seed: number
  /** What the users do, at most. */
  readonly operations?: number | undefined
  readonly instances?: number
  /** Keeps the last steps. */
  readonly isTraced?: boolean
}

export interface Outcome {
  readonly seed: number
  readonly operations: number
  readonly violations: ReadonlyArray<Violation>
  readonly hash: number
  readonly trace: ReadonlyArray<string>
  readonly counts: Readonly<Record<string, number>>
}

const dayMs = 86_400_000
const maxSteps = 400_000
/** How long it may take until all is quiet. */
const quietMs = 60_000

/** Independent streams of one seed: what one of them draws does not change the others. */
const streams = (seed: number) => {
  let count = 0
  return (): Random => makeRandom(Math.imul(seed, 0x9e3779b1) ^ Math.imul(++count, 0x85ebca6b))
}

const names = ["ann", "bob", "cid", "dan"]

/** Runs of one process. Each is later than those before: ids that hold the time must not meet former ones. */
export class Simulator {
  #runs = 0

  run(options: RunOptions): Outcome {
    return simulate(options, Date.UTC(2030, 0, 1) + this.#runs++ * 2 * dayMs)
  }
}

const simulate = (
  { instances = 2, isTraced = false, operations: wanted, seed }: RunOptions,
  startAt: number
): Outcome => {
  const random = streams(seed)
  const schedule = random()
  // Drawn in any case: a run that is given as many operations as it would draw is the same run.
  const drawn = schedule.pick([20, 40, 80, 160])
  const operations = wanted ?? drawn
  const loop = new EventLoop({ random: schedule, startAt, maxOperations: schedule.pick([20, 200, 2000, 20_000]) })
  const trace = new Trace(startAt, isTraced)
  const history = new History(() => trace.stop())
  const weather = new Weather(random())
  const clusterRandom = random()
  const [nemesisRandom, userRandom, ids] = [random(), random(), random()]

  return withGlobals(loop, ids, () => {
    const cluster = new Cluster({ loop, random: clusterRandom, weather, trace, history })
    const { clientProcess } = cluster
    const host = { process: clientProcess, connect: cluster.connect, trace: trace.note }
    const users = names.map((name) => new User(new SimulatedClient(name, host, userRandom, history), userRandom))
    for (const { client } of users) cluster.clients.push(client)
    const nemesis = new Nemesis({ history, loop, random: nemesisRandom, cluster, weather, trace, instances })

    const until = (ms: number, isDone: () => boolean, what: string): boolean => {
      const end = loop.now + ms
      if (!loop.runUntil(end, isDone, maxSteps)) history.violate("runs", `${what}: more than ${maxSteps} steps`)
      if (isDone()) return true
      if (what !== "") history.violate("runs", `${what}: not within ${ms} ms`)
      return false
    }

    cluster.open(() => {
      for (let count = 0; count < instances; count++) cluster.start()
    })
    until(10_000, () => cluster.up.length === instances, "start")
    for (const { client } of users) client.connect()
    until(10_000, () => users.every(({ client }) => client.isConnected), "connecting")

    // A room, and everyone in it.
    const [owner, ...others] = users
    owner?.client.request("rooms.create", { title: "Tea" }, (created) => {
      const roomId = text(created?.result, "roomId")
      owner.client.enter(owner.client.addRoom(roomId))
      owner.client.request("rooms.invite", { roomId, role: "member" }, (invited) => {
        for (const { client } of others) client.enter(client.addRoom(roomId), text(invited?.result, "token"))
      })
    })
    const isIn = ({ client }: User) => [...client.rooms.values()].some((view) => view.isIn)
    until(10_000, () => users.every(isIn), "joining")

    let left = operations
    const go = (user: User) => {
      if (left <= 0) return
      left--
      user.act()
      user.client.after(userRandom.below(userRandom.chance(0.1) ? 2000 : 250), () => go(user))
    }
    for (const user of users) user.client.after(userRandom.below(200), () => go(user))
    nemesis.start()
    until(60_000, () => left <= 0, "")
    nemesis.heal()

    const isQuiet = () =>
      cluster.up.length >= instances &&
      users.every((user) => isIn(user) && user.unsure === 0 && user.client.inFlight === 0)
    until(quietMs, isQuiet, "quiet")
    // What follows behind: flushes, records, presence (who vanished is pinged in vain for 5 seconds), catalog.
    until(nemesis.hasLostInstances || weather.faults > 0 ? 17_000 : 8000, () => false, "")
    until(quietMs, isQuiet, "quiet again")

    const lists = new Map<User, Map<string, ReadonlyArray<{ messageId: string; body: string }>>>()
    for (const user of users) {
      const found = new Map<string, ReadonlyArray<{ messageId: string; body: string }>>()
      lists.set(user, found)
      for (const view of user.client.rooms.values())
        user.client.list(view, (messages) => found.set(view.roomId, messages))
    }
    until(quietMs, () => users.every(({ client }) => client.inFlight === 0), "listing")
    judge({ history, cluster, weather, users, lists })

    const acknowledged = history.asked.filter(
      ({ outcome }) => typeof outcome === "object" && outcome.result !== undefined
    )
    return {
      seed,
      operations,
      violations: history.violations,
      hash: trace.hash,
      trace: trace.last(4000),
      counts: {
        operations: operations - left,
        requests: history.asked.length,
        acknowledged: acknowledged.length,
        lost: history.asked.filter(({ outcome }) => outcome === "lost").length,
        messages: history.sent.length,
        versions: history.versions.length,
        records: history.records.length,
        strikes: nemesis.done.length,
        kills: cluster.kills,
        faults: weather.faults,
        steps: loop.steps,
        seconds: Math.round((loop.now - startAt) / 1000)
      }
    }
  })
}
