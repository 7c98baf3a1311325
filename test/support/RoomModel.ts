// What rooms are to do, as plainly as it can be said: no network, no storage, nothing at the same time. It answers each
// request; from a real answer it takes only what a server makes up (ids, tokens, times).
import type { Message, Thread } from "../../src/domain/Message.ts"
import type { Role } from "../../src/domain/Room.ts"

export interface ModelMessage {
  readonly messageId: string
  readonly threadId: string | null
  readonly author: string
  body: string
  isEdited: boolean
  isDeleted: boolean
  /** `emoji user`, sorted by emoji, users in the order they came. */
  reactions: Array<string>
}

interface Invite {
  readonly role: Role
  readonly by: string
  /** Undefined: any number. */
  usesLeft: number | undefined
  isDead: boolean
  /** Its place among the room's invites and removals. */
  readonly turn: number
}

export interface ModelRoom {
  readonly roomId: string
  readonly title: string
  readonly maker: string
  isDeleted: boolean
  readonly members: Record<string, Role>
  threads: Array<Thread>
  readonly messages: Array<ModelMessage>
  readonly keys: Record<string, string>
  readonly invites: Record<string, Invite>
  /** Whom an owner removed, and the place of that among invites and removals. */
  readonly removed: Record<string, number>
  turns: number
}

export interface World {
  readonly rooms: Array<ModelRoom>
  /** Which connections are in which rooms. */
  readonly seats: Array<{ readonly connection: string; readonly user: string; readonly roomId: string }>
}

export class Refused extends Error {
  readonly type: string
  constructor(type: string) {
    super(type)
    this.type = type
  }
}
const refuse = (type: string): never => {
  throw new Refused(type)
}

export interface Asked {
  readonly connection: string
  readonly user: string
  readonly method: string
  readonly params: Readonly<Record<string, unknown>>
}

const text = (value: unknown): string => (typeof value === "string" ? value : "")
const names = (reactions: Message["reactions"]) =>
  Object.entries(reactions)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .flatMap(([emoji, users]) => users.map((user) => `${emoji} ${user}`))

export const plainMessage = (message: Message): ModelMessage => ({
  messageId: message.messageId,
  threadId: message.threadId,
  author: message.author,
  body: message.body,
  isEdited: message.editedAt !== null,
  isDeleted: message.deletedAt !== null,
  reactions: names(message.reactions)
})

const rank = { viewer: 0, member: 1, owner: 2 } as const

export const roomOf = (world: World, roomId: unknown): ModelRoom =>
  world.rooms.find((room) => room.roomId === roomId && !room.isDeleted) ?? refuse("RoomNotFound")

/** The room, for a caller whose role is at least that. */
const enter = (world: World, roomId: unknown, user: string, least: Role) => {
  const room = roomOf(world, roomId)
  const role = room.members[user] ?? refuse("NotAMember")
  return rank[role] < rank[least] ? refuse("Forbidden") : { room, role }
}
/** The room of something that was named alone: it is not found where the caller is no member. */
const within = (world: World, roomId: string, user: string, type: string) => {
  return roomOf(world, roomId).members[user] === undefined ? refuse(type) : enter(world, roomId, user, "member")
}
const rise = (world: World, isIt: (seat: World["seats"][number]) => boolean) => {
  world.seats.splice(0, world.seats.length, ...world.seats.filter((seat) => !isIt(seat)))
}
export const disconnect = (world: World, connection: string) => rise(world, (seat) => seat.connection === connection)

const expel = (world: World, room: ModelRoom, user: string) => {
  delete room.members[user]
  for (const invite of Object.values(room.invites)) if (invite.by === user) invite.isDead = true
  rise(world, (seat) => seat.roomId === room.roomId && seat.user === user)
}

export const presence = (world: World, roomId: string): Record<string, number> => {
  const counts: Record<string, number> = {}
  for (const seat of world.seats) if (seat.roomId === roomId) counts[seat.user] = (counts[seat.user] ?? 0) + 1
  return counts
}

/** The newest messages that were sent before, of the thread. */
const page = ({ messages }: ModelRoom, limit: number, threadId?: unknown, before?: unknown) => {
  const end = before === undefined ? messages.length : messages.findIndex(({ messageId }) => messageId === before)
  if (end === -1) return refuse("MessageNotFound")
  const all = messages.slice(0, end).filter((one) => threadId === undefined || one.threadId === threadId)
  return { messages: all.slice(-limit), more: all.length > limit }
}

export const stateOf = (world: World, room: ModelRoom) => ({
  title: room.title,
  participants: { ...room.members },
  present: presence(world, room.roomId),
  ...page(room, 50)
})

const sit = (world: World, { connection, user }: Asked, room: ModelRoom) => {
  const { roomId } = room
  const isThere = world.seats.some((seat) => seat.connection === connection && seat.roomId === roomId)
  if (!isThere) world.seats.push({ connection, user, roomId })
  return stateOf(world, room)
}

const accept = (room: ModelRoom, user: string, token: unknown) => {
  const held = room.members[user]
  if (held === "owner") return
  const invite = room.invites[text(token)]
  if (invite === undefined || invite.isDead || invite.usesLeft === 0 || invite.turn < (room.removed[user] ?? 0)) {
    if (held === undefined) refuse("InviteInvalid")
    return
  }
  if (held !== undefined && rank[invite.role] <= rank[held]) return
  room.members[user] = invite.role
  if (invite.usesLeft !== undefined) invite.usesLeft--
}

const messageOf = (world: World, { params, user }: Asked) => {
  const room = world.rooms.find(({ messages }) => messages.some(({ messageId }) => messageId === params["messageId"]))
  if (room === undefined) return refuse("MessageNotFound")
  const { role } = within(world, room.roomId, user, "MessageNotFound")
  const message = room.messages.find(({ messageId }) => messageId === params["messageId"])
  return message === undefined ? refuse("MessageNotFound") : { message, role }
}

const changeThread = (world: World, { params, user }: Asked, change: Partial<Thread>) => {
  const isIt = ({ threadId }: Thread) => threadId === params["threadId"]
  const holder = world.rooms.find(({ threads }) => threads.some(isIt)) ?? refuse("ThreadNotFound")
  const { room } = within(world, holder.roomId, user, "ThreadNotFound")
  room.threads = room.threads.map((thread) => (isIt(thread) ? { ...thread, ...change } : thread))
  return room.threads.find(isIt)
}

const react = (message: ModelMessage, name: string, adds: boolean) => {
  if (message.isDeleted) refuse("MessageNotFound")
  const others = message.reactions.filter((one) => one !== name)
  if (!adds) message.reactions = others
  else if (!message.reactions.includes(name)) {
    const emoji = name.slice(0, name.indexOf(" ") + 1)
    const above = others.findIndex((one) => one.slice(0, one.indexOf(" ") + 1) > emoji)
    others.splice(above === -1 ? others.length : above, 0, name)
    message.reactions = others
  }
  return message
}

type Given = { readonly [field: string]: unknown } | undefined

/** What each method answers, and what it changes; throws Refused, having changed nothing. */
const methods: Record<string, (world: World, asked: Asked, given: Given) => unknown> = {
  "rooms.get": (world, { params, user }) => {
    const { roomId, title, maker } = enter(world, params["roomId"], user, "viewer").room
    return { roomId, title, maker }
  },
  "rooms.list": ({ rooms }, { user }) =>
    rooms.flatMap((room) => (!room.isDeleted && room.members[user] !== undefined ? [room.roomId] : [])).sort(),
  "rooms.delete": (world, { params, user }) => {
    const { room } = enter(world, params["roomId"], user, "owner")
    room.isDeleted = true
    rise(world, (seat) => seat.roomId === room.roomId)
    return {}
  },
  "rooms.join": (world, asked) => {
    const room = roomOf(world, asked.params["roomId"])
    if (asked.params["invite"] !== undefined) accept(room, asked.user, asked.params["invite"])
    return sit(world, asked, enter(world, room.roomId, asked.user, "viewer").room)
  },
  /** The first half of a join. */
  accept: (world, { params, user }) => {
    accept(roomOf(world, params["roomId"]), user, params["invite"])
    return {}
  },
  "rooms.resume": (world, asked) => sit(world, asked, enter(world, asked.params["roomId"], asked.user, "viewer").room),
  "rooms.leave": (world, { connection, params, user }) => {
    const { room } = enter(world, params["roomId"], user, "viewer")
    if (room.maker !== user) expel(world, room, user)
    else rise(world, (seat) => seat.roomId === room.roomId && seat.connection === connection)
    return {}
  },
  "rooms.remove": (world, { params, user }) => {
    const { room } = enter(world, params["roomId"], user, "owner")
    const other = text(params["user"])
    if (other === user || other === room.maker) refuse("Forbidden")
    if (room.members[other] === undefined) refuse("NotAMember")
    expel(world, room, other)
    room.removed[other] = ++room.turns
    return {}
  },
  "rooms.invite": (world, { params, user }, given) => {
    const { role: held, room } = enter(world, params["roomId"], user, "member")
    const role = params["role"] as Role
    if (role === "owner" && held !== "owner") refuse("Forbidden")
    const usesLeft = params["maxUses"] as number | undefined
    // One that is to expire at all is expired before anybody uses it.
    const isDead = params["expiresInMs"] !== undefined
    room.invites[text(given?.["token"])] = { role, by: user, usesLeft, isDead, turn: ++room.turns }
    return {}
  },
  "rooms.revokeInvite": (world, { params, user }) => {
    const { role, room } = enter(world, params["roomId"], user, "member")
    const invite = room.invites[text(params["token"])]
    if (invite !== undefined && (role === "owner" || invite.by === user)) invite.isDead = true
    return {}
  },
  "presence.list": (world, { params, user }) =>
    presence(world, enter(world, params["roomId"], user, "viewer").room.roomId),
  "messages.send": (world, { params, user }, given) => {
    const { room } = enter(world, params["roomId"], user, "member")
    const key = params["key"] === undefined ? undefined : `${user} ${params["key"]}`
    const before = key === undefined ? undefined : room.keys[key]
    if (before !== undefined) return room.messages.find(({ messageId }) => messageId === before)
    const threadId = params["threadId"] === undefined ? null : text(params["threadId"])
    if (threadId !== null && !room.threads.some((thread) => thread.threadId === threadId)) refuse("ThreadNotFound")
    const messageId = text(given?.["messageId"])
    if (room.messages.some((message) => message.messageId === messageId)) refuse("an id that was there before")
    const body = text(params["body"])
    const sent = { messageId, threadId, author: user, body, isEdited: false, isDeleted: false, reactions: [] }
    room.messages.push(sent)
    if (key !== undefined) room.keys[key] = messageId
    return sent
  },
  "messages.edit": (world, asked) => {
    const { message } = messageOf(world, asked)
    if (message.author !== asked.user || message.isDeleted) refuse("MessageNotFound")
    const body = text(asked.params["body"])
    if (body !== message.body) Object.assign(message, { body, isEdited: true })
    return message
  },
  "messages.delete": (world, asked) => {
    const { message, role } = messageOf(world, asked)
    if (message.author !== asked.user && role !== "owner") refuse("MessageNotFound")
    Object.assign(message, { body: "", isDeleted: true, reactions: [] })
    return {}
  },
  "messages.react": (world, asked) =>
    react(messageOf(world, asked).message, `${asked.params["emoji"]} ${asked.user}`, true),
  "messages.unreact": (world, asked) =>
    react(messageOf(world, asked).message, `${asked.params["emoji"]} ${asked.user}`, false),
  "messages.list": (world, { params, user }) => {
    const { room } = enter(world, params["roomId"], user, "viewer")
    return page(room, Number(params["limit"] ?? 50), params["threadId"], params["before"])
  },
  "threads.create": (world, { params, user }, given) => {
    const { room } = enter(world, params["roomId"], user, "member")
    const made = { threadId: text(given?.["threadId"]), createdAt: text(given?.["createdAt"]) }
    const category = params["category"] === undefined ? null : text(params["category"])
    const thread = { ...made, roomId: room.roomId, title: text(params["title"]), category, archived: false }
    const place = ({ createdAt, threadId }: Thread) => `${createdAt} ${threadId}`
    room.threads = [...room.threads, thread].sort((a, b) => (place(a) < place(b) ? -1 : 1))
    return thread
  },
  "threads.list": (world, { params, user }) => {
    const { threads } = enter(world, params["roomId"], user, "viewer").room
    return threads.filter(({ archived }) => params["archived"] === undefined || archived === params["archived"])
  },
  "threads.rename": (world, asked) => changeThread(world, asked, { title: text(asked.params["title"]) }),
  "threads.categorize": (world, asked) =>
    changeThread(world, asked, { category: asked.params["category"] === null ? null : text(asked.params["category"]) }),
  "threads.archive": (world, asked) => changeThread(world, asked, { archived: true }),
  "threads.unarchive": (world, asked) => changeThread(world, asked, { archived: false })
}

/** `{result}` or `{error}`: what the model answers. */
export const answer = (world: World, asked: Asked, given: Given): { result?: unknown; error?: string } => {
  const method = methods[asked.method]
  if (method === undefined) throw new Error(`the model does not know ${asked.method}`)
  try {
    return { result: method(world, asked, given) }
  } catch (error) {
    if (error instanceof Refused) return { error: error.type }
    throw error
  }
}
