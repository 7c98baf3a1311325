// What the methods of rooms, threads, messages and people do.
import { Effect } from "effect"
import { InvalidInput } from "../../domain/Integration.ts"
import type { makeKeyedMutex } from "../../infra/KeyedMutex.ts"
import type { DocumentMethods } from "../../protocol/methods/DocumentMethods.ts"
import type { MessageMethods } from "../../protocol/methods/MessageMethods.ts"
import type { RoomMethods } from "../../protocol/methods/RoomMethods.ts"
import { Contacts } from "../../rooms/Contacts.ts"
import { Documents } from "../../rooms/Documents.ts"
import { Invites } from "../../rooms/Invites.ts"
import { Messages } from "../../rooms/Messages.ts"
import { Rooms } from "../../rooms/Rooms.ts"
import { Subscriptions } from "../../rooms/Subscriptions.ts"
import { Threads } from "../../rooms/Threads.ts"
import type { Caller, Handlers } from "./Caller.ts"
import type { ClientError } from "./ErrorReply.ts"
import { writes } from "./WriteQuota.ts"

type Part = Pick<Handlers, keyof typeof RoomMethods | keyof typeof MessageMethods | keyof typeof DocumentMethods>

const nothing = Effect.map(() => ({}))

/** `turns`: what one connection asks to write is done in the order it was asked, though its requests work side by side. */
export const makeRoomHandlers = Effect.fnUntraced(function* (turns: ReturnType<typeof makeKeyedMutex>) {
  const documents = yield* Documents
  const invites = yield* Invites
  const joining = yield* Subscriptions
  const messages = yield* Messages
  const people = yield* Contacts
  const rooms = yield* Rooms
  const threads = yield* Threads

  const inTurn =
    <P, A>(write: (params: P, caller: Caller) => Effect.Effect<A, ClientError>) =>
    (params: P, caller: Caller) =>
      turns(caller.id, write(params, caller))

  /** `textOf`: what stands in the room then; it is of the bytes that the user may write. */
  const writing =
    <P, A>(textOf: (params: P) => string, write: (params: P, caller: Caller) => Effect.Effect<A, ClientError>) =>
    (params: P, caller: Caller) =>
      Effect.andThen(writes(caller.use, textOf(params)), write(params, caller))

  const handlers: Part = {
    "rooms.create": ({ autoAssign = false, title }, { user }) => rooms.create(user, title, autoAssign),
    "rooms.get": ({ roomId }, { user }) => rooms.get(user, roomId),
    "rooms.list": (params, { user }) => rooms.list(user, params),
    "rooms.participants": ({ roomId, ...part }, { user }) => joining.participants(user, roomId, part),
    "rooms.delete": ({ roomId }, { user }) => nothing(rooms.delete(user, roomId)),
    "rooms.join": inTurn(({ invite, roomId }, caller) => joining.join(caller, roomId, invite)),
    "rooms.resume": inTurn(({ cursor, roomId }, caller) => joining.resume(caller, roomId, cursor)),
    "rooms.leave": inTurn(({ roomId }, { id, user }) => nothing(rooms.leave(user, roomId, id))),
    "rooms.remove": ({ roomId, user }, caller) => nothing(rooms.remove(caller.user, roomId, user)),
    "rooms.invite": ({ roomId, ...options }, { user }) =>
      Effect.map(invites.create(user, roomId, options), (token) => ({ token })),
    "rooms.invites": ({ roomId, ...page }, { user }) => invites.list(user, roomId, page),
    "rooms.revokeInvite": ({ inviteId, roomId, token }, { user }) => {
      if (token !== undefined && inviteId === undefined) return nothing(invites.revoke(user, roomId, { token }))
      if (inviteId !== undefined && token === undefined) return nothing(invites.revoke(user, roomId, { inviteId }))
      return Effect.fail(new InvalidInput({ reason: "name the invite by its token, or by its inviteId", path: [] }))
    },
    "presence.list": ({ roomId, ...part }, { user }) => joining.present(user, roomId, part),

    "threads.create": writing(
      ({ title }) => title,
      inTurn(({ category = null, roomId, title }, { user }) => threads.create(user, roomId, title, category))
    ),
    "threads.list": ({ archived, roomId, ...part }, { user }) => threads.list(user, roomId, archived, part),
    "threads.rename": inTurn(({ threadId, title }, { user }) => threads.change(user, threadId, { title })),
    "threads.categorize": inTurn(({ category, threadId }, { user }) => threads.change(user, threadId, { category })),
    "threads.archive": inTurn(({ threadId }, { user }) => threads.change(user, threadId, { archived: true })),
    "threads.unarchive": inTurn(({ threadId }, { user }) => threads.change(user, threadId, { archived: false })),

    "messages.send": writing(
      ({ body }) => body,
      inTurn((params, { user }) => messages.send(user, params))
    ),
    "messages.edit": writing(
      ({ body }) => body,
      inTurn(({ body, messageId }, { user }) => messages.edit(user, messageId, body))
    ),
    "messages.delete": inTurn(({ messageId }, { user }) => nothing(messages.delete(user, messageId))),
    "messages.list": (params, { user }) => messages.list(user, params),
    "messages.react": writing(
      ({ emoji }) => emoji,
      inTurn(({ emoji, messageId }, { user }) => messages.react(user, messageId, emoji, true))
    ),
    "messages.unreact": inTurn(({ emoji, messageId }, { user }) => messages.react(user, messageId, emoji, false)),

    "document.get": ({ roomId }, { user }) => documents.get(user, roomId),
    "document.update": writing(
      ({ text }) => text,
      ({ roomId, ...edit }, caller) =>
        Effect.map(documents.update(caller, roomId, edit), ({ savedVersion, version }) => ({
          version,
          savedVersion
        }))
    ),
    "document.switch": writing(
      ({ name }) => name,
      ({ name, roomId }, caller) => documents.switch(caller, roomId, name)
    ),

    "contacts.add": (params, { user }) => people.addContact(user, params),
    "contacts.list": (params, { user }) => people.contacts(user, params),
    "contacts.remove": ({ user: other }, { user }) => nothing(people.removeContact(user, other)),
    "feedback.submit": writing(
      ({ comment }) => comment ?? "",
      (params, { user }) => Effect.map(people.submit(user, params), (feedbackId) => ({ feedbackId }))
    )
  }
  return handlers
})
