// What the methods of rooms, messages, threads, documents, contacts and feedback do.
import { Effect } from "effect"
import { InvalidInput } from "../../domain/Integration.ts"
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
import { writes } from "./WriteQuota.ts"

const nothing = Effect.map(() => ({}))

export const makeRoomHandlers = Effect.gen(function* () {
  const contacts = yield* Contacts
  const documents = yield* Documents
  const invites = yield* Invites
  const messages = yield* Messages
  const rooms = yield* Rooms
  const subscriptions = yield* Subscriptions
  const threads = yield* Threads

  /** Counts `textOf`, which is what the request adds to the room, against the bytes that the user may write. */
  const counted =
    <P, A, E>(textOf: (params: P) => string, handle: (params: P, caller: Caller) => Effect.Effect<A, E>) =>
    (params: P, caller: Caller) =>
      Effect.andThen(writes(caller.use, textOf(params)), handle(params, caller))

  return {
    "rooms.create": ({ autoAssign = false, title }, { user }) => rooms.create(user, title, autoAssign),
    "rooms.get": ({ roomId }, { user }) => rooms.get(user, roomId),
    "rooms.list": (params, { user }) => rooms.list(user, params),
    "rooms.participants": ({ roomId, ...part }, { user }) => subscriptions.participants(user, roomId, part),
    "rooms.delete": ({ roomId }, { user }) => nothing(rooms.delete(user, roomId)),
    "rooms.join": ({ invite, roomId }, caller) => subscriptions.join(caller, roomId, invite),
    "rooms.resume": ({ cursor, roomId }, caller) => subscriptions.resume(caller, roomId, cursor),
    "rooms.leave": ({ roomId }, { id, user }) => nothing(rooms.leave(user, roomId, id)),
    "rooms.remove": ({ roomId, user }, caller) => nothing(rooms.remove(caller.user, roomId, user)),
    "rooms.invite": ({ roomId, ...options }, { user }) =>
      Effect.map(invites.create(user, roomId, options), (token) => ({ token })),
    "rooms.invites": ({ roomId, ...page }, { user }) => invites.list(user, roomId, page),
    "rooms.revokeInvite": ({ inviteId, roomId, token }, { user }) => {
      if (token !== undefined && inviteId === undefined) return nothing(invites.revoke(user, roomId, { token }))
      if (inviteId !== undefined && token === undefined) return nothing(invites.revoke(user, roomId, { inviteId }))
      return Effect.fail(new InvalidInput({ reason: "name the invite by its token, or by its inviteId", path: [] }))
    },
    "presence.list": ({ roomId, ...part }, { user }) => subscriptions.present(user, roomId, part),

    "threads.create": counted(
      ({ title }) => title,
      ({ category = null, roomId, title }, { user }) => threads.create(user, roomId, title, category)
    ),
    "threads.list": ({ archived, roomId, ...part }, { user }) => threads.list(user, roomId, archived, part),
    "threads.rename": ({ threadId, title }, { user }) => threads.change(user, threadId, { title }),
    "threads.categorize": ({ category, threadId }, { user }) => threads.change(user, threadId, { category }),
    "threads.archive": ({ threadId }, { user }) => threads.change(user, threadId, { archived: true }),
    "threads.unarchive": ({ threadId }, { user }) => threads.change(user, threadId, { archived: false }),

    "messages.send": counted(
      ({ body }) => body,
      (params, { user }) => messages.send(user, params)
    ),
    "messages.edit": counted(
      ({ body }) => body,
      ({ body, messageId }, { user }) => messages.edit(user, messageId, body)
    ),
    "messages.delete": ({ messageId }, { user }) => nothing(messages.delete(user, messageId)),
    "messages.list": (params, { user }) => messages.list(user, params),
    "messages.react": counted(
      ({ emoji }) => emoji,
      ({ emoji, messageId }, { user }) => messages.react(user, messageId, emoji, true)
    ),
    "messages.unreact": ({ emoji, messageId }, { user }) =>
      // One reaction less is never too many.
      Effect.catchTag(messages.react(user, messageId, emoji, false), "TooManyReactions", Effect.die),

    "document.get": ({ roomId }, { user }) => documents.get(user, roomId),
    "document.update": counted(
      ({ text }) => text,
      ({ roomId, ...edit }, caller) =>
        Effect.map(documents.update(caller, roomId, edit), ({ savedVersion, version }) => ({
          version,
          savedVersion
        }))
    ),
    "document.switch": counted(
      ({ name }) => name,
      ({ name, roomId }, caller) => documents.switch(caller, roomId, name)
    ),

    "contacts.add": (params, { user }) => contacts.addContact(user, params),
    "contacts.list": (params, { user }) => contacts.contacts(user, params),
    "contacts.remove": ({ user: other }, { user }) => nothing(contacts.removeContact(user, other)),
    "feedback.submit": counted(
      ({ comment }) => comment ?? "",
      (params, { user }) => Effect.map(contacts.submit(user, params), (feedbackId) => ({ feedbackId }))
    )
  } satisfies Pick<Handlers, keyof typeof RoomMethods | keyof typeof MessageMethods | keyof typeof DocumentMethods>
})
