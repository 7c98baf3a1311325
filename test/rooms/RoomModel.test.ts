// Rooms against a model of them: random requests of several users on two instances, alone and several at once. What is
// answered must be what the model answers in some order of those that were under way together; and each connection's
// events, in order and without a gap, must lead from what it was given to what the model has. Connections break and come
// back, with what they missed.
//
// HOTPATH_MODEL_SEED replays a run, whose seed is printed (requests under way together may still happen in another order);
// HOTPATH_MODEL_REQUESTS makes it longer.
import { isDeepStrictEqual } from "node:util"
import { afterAll, assert, beforeAll, it } from "vitest"
import { overPairs } from "../support/OverPairs.ts"
import { patienceMs } from "../support/Patience.ts"
import { makeRandom } from "../support/Random.ts"
import type { RoomClient, Told } from "../support/RoomClient.ts"
import { distinct, explain, firstMisfit, plainPage, plainPresent } from "../support/RoomExplain.ts"
import { answer, disconnect, presence, stateOf, type World } from "../support/RoomModel.ts"
import type { RoomPair } from "../support/RoomPair.ts"
import { randomRequest } from "../support/RoomRequests.ts"
import { RoomView } from "../support/RoomView.ts"
import { rounds } from "../support/Soak.ts"
import { until } from "../support/Until.ts"

const seed = Number(process.env["HOTPATH_MODEL_SEED"] ?? Math.floor(Math.random() * 2 ** 31))
const requests = Number(process.env["HOTPATH_MODEL_REQUESTS"] ?? rounds(600, 3000))
const users = ["ann", "bob", "cat", "dan", "eve"]

/** A user's place at one of the instances: connected, or about to be again. */
interface Place {
  readonly name: string
  readonly user: string
  instance: 0 | 1
  client: RoomClient | undefined
  /** By room: what it knows, and how much of the seat's events that has. */
  readonly views: Map<string, { readonly view: RoomView; seat: unknown; applied: number }>
  /** Rooms it was thrown out of by a broken connection, and where it resumes. */
  readonly cursors: Map<string, { readonly cursor: string; readonly ends: number }>
}

overPairs("rooms and their model", (start) => {
  let pair: RoomPair
  const random = makeRandom(seed)
  const places: Array<Place> = []
  /** What can be the case: more than one only while what was answered fits more than one order. */
  let worlds: ReadonlyArray<World> = []
  const log: Array<string> = []
  const told = new Map<string, Told>()
  /** Two forms in which an event was told. */
  const otherwise: Array<{ readonly place: string; readonly forms: readonly [Told, Told] }> = []
  /** By room and user: how often their membership ended. */
  const ends = new Map<string, number>()
  const endsOf = (roomId: string, user: string) => ends.get(`${roomId} ${user}`) ?? 0
  const counts: Record<string, number> = {}
  let isBroken = false

  beforeAll(async () => {
    console.log(`HOTPATH_MODEL_SEED=${seed} HOTPATH_MODEL_REQUESTS=${requests}`)
    pair = await start()
    const makers = [await pair.client("ann", 0), await pair.client("bob", 1)] as const
    const world: World = { rooms: [], seats: [] }
    for (const maker of makers) {
      const title = `${maker.user}'s`
      const { roomId } = await maker.call("rooms.create", { title })
      const room = {
        roomId,
        title,
        maker: maker.user,
        isDeleted: false,
        threads: [],
        messages: [],
        keys: {},
        invites: {},
        removed: {},
        turns: 0
      }
      world.rooms.push({ ...room, members: { [maker.user]: "owner" } })
    }
    worlds = [world]
    for (const user of users) {
      for (const n of [0, 1, 2]) {
        const instance = n % 2 === 0 ? 0 : 1
        const client = await pair.client(user, instance)
        places.push({ name: `${user}${n}`, user, instance, client, views: new Map(), cursors: new Map() })
      }
    }
  })
  afterAll(() => pair?.stop())

  const world = (): World => {
    const [first] = worlds
    if (first === undefined) throw new Error("no world is left")
    return first
  }
  const fail = (what: string): never => {
    isBroken = true
    throw new Error(`${what}\nHOTPATH_MODEL_SEED=${seed}\n${log.slice(-25).join("\n")}`)
  }
  /** Brings a place's views up to what its connection was told, and holds that against what all others were told. */
  const follow = (place: Place) => {
    const { client, views } = place
    if (client === undefined) return
    for (const violation of client.violations) fail(`${place.name}: ${violation}`)
    for (const { roomId } of world().rooms) {
      const seat = client.seat(roomId)
      if (seat === undefined) continue
      let known = views.get(roomId)
      if (seat.state !== undefined && known?.seat !== seat) {
        known = { view: new RoomView(seat.state), seat, applied: 0 }
        views.set(roomId, known)
      }
      if (known === undefined) return fail(`${place.name} resumed what it never knew`)
      if (known.seat !== seat) Object.assign(known, { seat, applied: 0 })
      for (const one of seat.events.slice(known.applied)) {
        known.view.apply(one.event)
        known.applied++
        compare(place, one)
      }
    }
  }
  const compare = (place: Place, one: Told) => {
    const key = `${one.roomId} ${one.seq}`
    const before = told.get(key)
    if (before === undefined) told.set(key, one)
    else if (!isDeepStrictEqual(before, one)) otherwise.push({ place: place.name, forms: [before, one] })
  }
  /** Who resumed is told of a message as a later edit or deletion left it. */
  const isExplained = (forms: readonly [Told, Told]) =>
    isDeepStrictEqual(...(forms.map(({ event, ...rest }) => [rest, event.type]) as [unknown, unknown])) &&
    forms.some(({ event, roomId, seq }) =>
      [...told.values()].some(
        (later) =>
          (later.event.type === "message.edited" || later.event.type === "message.deleted") &&
          later.roomId === roomId &&
          later.seq > seq &&
          "message" in event &&
          isDeepStrictEqual(later.event.message, event.message)
      )
    )

  /** What is still otherwise for some connection that is in a room. */
  const difference = (candidate: World): string | undefined => {
    for (const place of places) {
      for (const room of candidate.rooms) {
        const isSeated = candidate.seats.some((seat) => seat.connection === place.name && seat.roomId === room.roomId)
        const isOpen = place.client?.seat(room.roomId)?.isOpen === true
        if (isSeated !== isOpen) return `${place.name} is ${isOpen ? "" : "not "}in ${room.title}`
        const wrong = isSeated ? place.views.get(room.roomId)?.view.difference(candidate, room) : undefined
        if (wrong !== undefined) return `${place.name} in ${room.title}: ${wrong}`
      }
    }
    return undefined
  }
  /** A connection that is in the room, or may be. */
  const readerOf = ({ isDeleted, members }: World["rooms"][number]) => {
    const readers = places.filter(({ client, user }) => client !== undefined && members[user] !== undefined)
    return isDeleted || readers.length === 0 ? undefined : random.pick(readers).client
  }
  const pages = async (client: RoomClient, roomId: string) => {
    const [page, { threads }] = await Promise.all([
      client.call("messages.list", { roomId, limit: 50 }),
      client.call("threads.list", { roomId })
    ])
    return { page: plainPage(page), threads }
  }
  const fitting = (roomId: string, { page, threads }: Awaited<ReturnType<typeof pages>>) =>
    worlds.filter((candidate) => {
      const own = candidate.rooms.find((one) => one.roomId === roomId)
      if (own === undefined) return false
      const { messages, more } = stateOf(candidate, own)
      return isDeepStrictEqual(page, { messages, more }) && isDeepStrictEqual(threads, own.threads)
    })
  /**
   * The pages show in which order was done what was asked for at once. The events alone don't: while none has come, they
   * fit an order in which nothing changed.
   */
  const narrow = async () => {
    for (const room of worlds.length > 1 ? world().rooms : []) {
      const client = readerOf(room)
      if (client === undefined) continue
      const fit = fitting(room.roomId, await pages(client, room.roomId))
      if (fit.length > 0) worlds = fit
    }
  }
  const settle = async () => {
    /** By candidate. */
    let wrong: ReadonlyArray<string | undefined> = []
    const isSettled = () => {
      for (const place of places) follow(place)
      wrong = worlds.map(difference)
      const right = worlds.filter((_, n) => wrong[n] === undefined)
      if (right.length > 0) worlds = right
      return right.length > 0 && otherwise.every(({ forms }) => isExplained(forms))
    }
    await until(isSettled, "the events").catch((error) =>
      fail(`${isBroken ? error : "never told"}: ${wrong.join("; or ")} ${JSON.stringify(otherwise)}`)
    )
    otherwise.length = 0
  }

  /** Everything that can be read, through somebody who may. */
  const look = async () => {
    for (const room of world().rooms) {
      const { roomId } = room
      const client = readerOf(room)
      if (client === undefined) continue
      const present = async () => plainPresent((await client.call("presence.list", { roomId })).present)
      const read = await pages(client, roomId)
      const fit = fitting(roomId, read)
      if (fit.length > 0) worlds = fit
      const own = world().rooms.find((one) => one.roomId === roomId) ?? room
      const { messages, more } = stateOf(world(), own)
      assert.deepEqual(read.page, { messages, more })
      assert.deepEqual(read.threads, own.threads)
      // Who goes without a word is told a moment later.
      await until(async () => isDeepStrictEqual(await present(), presence(world(), roomId)), "presence").catch(
        async () =>
          fail(`present: ${JSON.stringify(await present())}, wanted ${JSON.stringify(presence(world(), roomId))}`)
      )
    }
  }

  const ask = async (group: ReadonlyArray<Place>) => {
    const guesses = budget
    const asked = group.map(({ name, user }) =>
      randomRequest(random, world(), { connection: name, user }, users, guesses)
    )
    const replies = await Promise.all(
      asked.map(({ method, params }, n) => {
        counts[method] = (counts[method] ?? 0) + 1
        const client = group[n]?.client
        if (client === undefined) throw new Error("not connected")
        return client.ask(method as "rooms.get", params as never)
      })
    )
    const answered = Date.now()
    for (const [n, { method, params, user }] of asked.entries()) {
      const roomId = String(params["roomId"])
      const isMaker = world().rooms.some((room) => room.roomId === roomId && room.maker === user)
      const other =
        method === "rooms.remove" ? String(params["user"]) : method === "rooms.leave" && !isMaker ? user : undefined
      if (other !== undefined && replies[n]?.error === undefined)
        ends.set(`${roomId} ${other}`, endsOf(roomId, other) + 1)
    }
    for (const [n, one] of asked.entries()) {
      const outcome = replies[n]?.error?.data.type ?? "ok"
      counts[outcome] = (counts[outcome] ?? 0) + 1
      log.push(`${group.length} ${one.connection} ${one.method} ${JSON.stringify(one.params)}: ${outcome}`)
    }
    const next = explain(worlds, asked, replies)
    if (next.length === 0) fail(`no order explains the answers; in this one: ${firstMisfit(world(), asked, replies)}`)
    worlds = next
    if (asked.some(({ params }) => params["expiresInMs"] !== undefined)) {
      await until(() => Date.now() > answered + 2, "an invite to expire")
    }
  }
  const budget = { left: 20 }

  /** The connection breaks, or is closed; what it was in is remembered by its cursors. */
  const leave = async (place: Place) => {
    const { client } = place
    if (client === undefined) return
    follow(place)
    place.cursors.clear()
    for (const seat of world().seats) {
      if (seat.connection === place.name) {
        const { roomId } = seat
        place.cursors.set(roomId, { cursor: client.cursor(roomId), ends: endsOf(roomId, place.user) })
      }
    }
    log.push(`${place.name} goes`)
    place.client = undefined
    await (random.chance(0.5) ? client.kill() : client.close())
    worlds = distinct(
      worlds.map((one) => {
        const without = structuredClone(one)
        disconnect(without, place.name)
        return without
      })
    )
  }

  /** Comes back to either instance, resumes, and must have missed nothing. */
  const comeBack = async (place: Place) => {
    place.instance = random.chance(0.5) ? 0 : 1
    const client = await pair.client(place.user, place.instance)
    place.client = client
    for (const [roomId, { cursor, ends: before }] of place.cursors) {
      const asked = { connection: place.name, user: place.user, method: "rooms.resume", params: { roomId, cursor } }
      const reply = await client.ask("rooms.resume", { roomId, cursor })
      log.push(`${place.name} comes back to ${roomId} from ${cursor}: ${reply.error?.data.type ?? "ok"}`)
      const next = structuredClone(world())
      assert.strictEqual(reply.error?.data.type, answer(next, asked, undefined).error)
      worlds = [next]
      if (reply.result === undefined) continue
      counts["recovered"] = (counts["recovered"] ?? 0) + 1
      // Whose membership ended meanwhile begins anew with the next one.
      if (reply.result.recovered !== (before === endsOf(roomId, place.user)))
        fail(`${place.name} ${reply.result.recovered ? "resumed" : "could not resume"} from ${cursor}`)
    }
    place.cursors.clear()
  }

  const step = async (): Promise<number> => {
    const there = places.filter(({ client }) => client !== undefined)
    const away = places.filter(({ client }) => client === undefined)
    if (away.length > 0 && (there.length < 10 || random.chance(0.12))) {
      await comeBack(random.pick(away))
      return 0
    }
    if (random.chance(0.06)) {
      await leave(random.pick(there))
      return 0
    }
    const size = random.weighted([
      [4, 1],
      [2, 2],
      [2, 3],
      [2, 4]
    ] as const)
    const group = new Set<Place>()
    while (group.size < size) group.add(random.pick(there))
    await ask([...group])
    return size
  }

  it(`${requests} requests, some of them at once, through broken connections`, {
    timeout: 2 * patienceMs + 200 * requests
  }, async () => {
    for (let done = 0; done < requests; ) {
      done += await step()
      await narrow()
      await settle()
      await look()
    }
    assert.isFalse(isBroken)
    const { rooms } = world()
    console.log(
      `seed ${seed}: ${told.size} events, ${rooms.map(({ messages }) => messages.length)} messages, ${JSON.stringify(counts)}`
    )
  })
})
