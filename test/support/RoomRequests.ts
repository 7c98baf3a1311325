// Random requests in rooms, most of them good, some of them not.
import type { Random } from "./Random.ts"
import type { Asked, World } from "./RoomModel.ts"

interface Who {
  readonly connection: string
  readonly user: string
}

/** Wrong invites that one address may send are few: see rooms/Invites.ts. */
export interface Guesses {
  left: number
}

export const randomRequest = (
  random: Random,
  world: World,
  who: Who,
  users: ReadonlyArray<string>,
  guesses: Guesses
): Asked => {
  const own = world.rooms.filter(({ isDeleted, members }) => !isDeleted && members[who.user] !== undefined)
  const room = random.pick(own.length > 0 && random.chance(0.7) ? own : world.rooms)
  const other = random.pick(world.rooms)
  const { roomId } = room
  const oneOf = (known: ReadonlyArray<string>) =>
    known.length === 0 || random.chance(0.03) ? "nope" : random.pick(known)
  // The newest ones get most of it.
  const recent = random.chance(0.7) ? room.messages.slice(-3) : room.messages
  const messageId = oneOf(recent.map((message) => message.messageId))
  const threadId = oneOf((random.chance(0.9) ? room : other).threads.map((thread) => thread.threadId))
  const body = `b${random.below(1000)}`
  const emoji = random.pick(["👍", "🚀", "ok"])
  const role = random.weighted([
    [3, "member"],
    [2, "viewer"],
    [1, "owner"]
  ] as const)

  const invite = () => {
    const all = Object.entries(room.invites)
    const good = all.filter(([, one]) => !one.isDead && one.usesLeft !== 0)
    if (guesses.left > 0 && random.chance(0.2)) {
      guesses.left--
      const bad = all.filter((one) => !good.includes(one)).map(([token]) => token)
      return {
        invite: random.pick(bad.length > 0 && random.chance(0.8) ? bad : ["wrong", ...Object.keys(other.invites)])
      }
    }
    const isIn = room.members[who.user] !== undefined
    if (good.length === 0 || (isIn && random.chance(0.8))) return {}
    // Two who come at once with its last use: one of them was wrong.
    const [token, { usesLeft }] = random.pick(good)
    if (usesLeft === 1 && guesses.left-- <= 0) return {}
    return { invite: token }
  }

  const ask = random.weighted<() => readonly [string, Record<string, unknown>]>([
    [
      24,
      () => {
        const thread = random.chance(0.3) ? { threadId } : {}
        const key = random.chance(0.2) && threadId !== "nope" ? { key: `k${random.below(4)}` } : {}
        return ["messages.send", { roomId, body, ...thread, ...key }]
      }
    ],
    [
      6,
      () => {
        const own = recent.filter(({ author }) => author === who.user).map((message) => message.messageId)
        return ["messages.edit", { messageId: random.chance(0.6) ? oneOf(own) : messageId, body }]
      }
    ],
    [4, () => ["messages.delete", { messageId }]],
    [12, () => ["messages.react", { messageId, emoji }]],
    [
      6,
      () => {
        const own = recent.flatMap(({ messageId: id, reactions }) =>
          reactions
            .filter((one) => one.endsWith(` ${who.user}`))
            .map((one) => [id, one.slice(0, one.indexOf(" "))] as const)
        )
        if (own.length === 0 || random.chance(0.3)) return ["messages.unreact", { messageId, emoji }]
        const [id, known] = random.pick(own)
        return ["messages.unreact", { messageId: id, emoji: known }]
      }
    ],
    [
      5,
      () => {
        const before = random.chance(0.5) ? { before: messageId } : {}
        const thread = random.chance(0.3) ? { threadId } : {}
        return ["messages.list", { roomId, limit: 1 + random.below(20), ...before, ...thread }]
      }
    ],
    [3, () => ["threads.create", { roomId, title: body, ...(random.chance(0.5) && { category: "c" }) }]],
    [2, () => ["threads.rename", { threadId, title: body }]],
    [2, () => ["threads.categorize", { threadId, category: random.pick([null, "c", "d"]) }]],
    [2, () => ["threads.archive", { threadId }]],
    [2, () => ["threads.unarchive", { threadId }]],
    [2, () => ["threads.list", { roomId, ...(random.chance(0.5) && { archived: random.chance(0.5) }) }]],
    [22, () => ["rooms.join", { roomId, ...invite() }]],
    [2, () => ["rooms.resume", { roomId, cursor: "made-up:1" }]],
    [4, () => ["rooms.leave", { roomId }]],
    [3, () => ["rooms.remove", { roomId, user: random.pick(users) }]],
    [
      8,
      () => {
        const uses = random.chance(0.6) ? { maxUses: 1 + random.below(3) } : {}
        const expiry = random.chance(0.1) ? { expiresInMs: 1 } : {}
        return ["rooms.invite", { roomId, role, ...uses, ...expiry }]
      }
    ],
    [
      2,
      () => [
        "rooms.revokeInvite",
        { roomId, token: random.pick(["nope", ...Object.keys(room.invites), ...Object.keys(other.invites)]) }
      ]
    ],
    [2, () => ["presence.list", { roomId }]],
    [1, () => ["rooms.get", { roomId }]],
    [1, () => ["rooms.list", {}]],
    // Rare: what comes after finds little to do.
    [0.05, () => ["rooms.delete", { roomId }]]
  ])
  const [method, params] = ask()
  return { ...who, method, params }
}
