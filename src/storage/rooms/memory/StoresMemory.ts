// The room stores in memory: the same rules as in Postgres, and nothing survives a restart.
import { Clock, Context, Effect, Layer, Result } from "effect"
import { type Contact, maxContacts, TooManyContacts } from "../../../domain/Contact.ts"
import { emptyDocument, firstDocument } from "../../../domain/Document.ts"
import { isUuid } from "../../../domain/Ids.ts"
import { type Thread, ThreadNotFound } from "../../../domain/Message.ts"
import { Forbidden, NotAMember, RoomNotFound, type StorageUnavailable } from "../../../domain/Room.ts"
import { Fenced } from "../../LockFences.ts"
import { type Change, Unchanged } from "../Committed.ts"
import { ContactStore } from "../ContactStore.ts"
import { DocumentStore } from "../DocumentStore.ts"
import { listLimits, partOf } from "../ListPart.ts"
import { MemberStore } from "../MemberStore.ts"
import { Outbox, outboxLimits } from "../Outbox.ts"
import { graceMs, RoomPurge } from "../RoomPurge.ts"
import {
  changedRoom,
  changedThread,
  memberChange,
  roomChange,
  roomDeleted,
  switchedDocument,
  threadChange,
  updatedDocument
} from "../RoomRules.ts"
import { RoomStore } from "../RoomStore.ts"
import { ThreadStore } from "../ThreadStore.ts"
import * as InviteStoreMemory from "./InviteStoreMemory.ts"
import { MemoryRooms, maxRooms, memberOf, openRoom, refused, type StoredRoom, step, write } from "./MemoryRooms.ts"
import * as MessageStoreMemory from "./MessageStoreMemory.ts"

const find = (room: StoredRoom, name = room.document) => room.documents.get(name) ?? emptyDocument(name)

const stores = Layer.effectContext(
  Effect.map(MemoryRooms, (state) => {
    const { contacts, feedback, fences, invites, messages, rooms, threads } = state
    return Context.make(RoomStore, {
      create: (room) =>
        step(() => {
          const { createdAt, owner, roomId } = room
          if (!isUuid(roomId) || rooms.has(roomId)) return refused(`room ${roomId}`)
          if (rooms.size >= maxRooms) return refused("the memory for rooms is full")
          rooms.set(roomId, {
            room,
            deletedAt: undefined,
            changeNumber: 0,
            epochCounter: 0,
            members: new Map([[owner, { user: owner, role: "owner", joinedAt: createdAt }]]),
            document: firstDocument,
            documents: new Map(),
            removed: new Map(),
            threads: new Map(),
            messages: [],
            byKey: new Map(),
            pending: new Map()
          })
          return Result.void
        }),
      get: (roomId) =>
        step(() =>
          Result.map(openRoom(state, roomId), ({ changeNumber, epochCounter, room }) => ({
            room,
            changeNumber,
            epochCounter
          }))
        ),
      list: (user, query) =>
        Effect.sync(() =>
          partOf(
            [...rooms.values()]
              .filter(({ deletedAt, members }) => deletedAt === undefined && members.has(user))
              .map(({ room }) => room),
            ({ createdAt, roomId }) => [createdAt, roomId],
            query,
            listLimits.rooms,
            true
          )
        ),
      update: (roomId, change, actor) =>
        write(state, roomId, actor, "owner", (stored) => {
          const after = changedRoom(stored.room, change)
          if (after === undefined) return Result.succeed(new Unchanged(stored.room))
          stored.room = after
          return Result.succeed(roomChange(after))
        }),
      delete: (roomId, actor) =>
        write(state, roomId, actor, "owner", (room) => {
          room.deletedAt = Date.parse(actor.at)
          return Result.succeed(roomDeleted)
        }),
      advanceEpoch: (roomId) =>
        step(() =>
          Result.map(
            Result.fromNullishOr(rooms.get(roomId), () => new RoomNotFound()),
            (room) => ++room.epochCounter
          )
        )
    }).pipe(
      Context.add(MemberStore, {
        get: (roomId, user) => step(() => memberOf(state, roomId, user)),
        list: (roomId, query) =>
          Effect.sync(() =>
            partOf(
              rooms.get(roomId)?.members.values() ?? [],
              ({ joinedAt, user }) => [joinedAt, user],
              query,
              listLimits.participants
            )
          ),
        remove: (roomId, user, actor) =>
          write(
            state,
            roomId,
            actor,
            user === actor.user ? undefined : "owner",
            ({ changeNumber, members, removed, room }): Result.Result<Change<void>, Forbidden | NotAMember> => {
              if (room.owner === user) return Result.fail(new Forbidden({ needs: "another than the room's maker" }))
              if (!members.delete(user)) return Result.fail(new NotAMember())
              for (const [inviteId, invite] of invites) {
                if (invite.roomId === roomId && invite.createdBy === user) invites.delete(inviteId)
              }
              if (user !== actor.user) removed.set(user, changeNumber + 1)
              return Result.succeed(memberChange("member.left", user, undefined))
            }
          )
      }),
      Context.add(ThreadStore, {
        create: (thread, actor) =>
          write(state, thread.roomId, actor, "member", (room): Result.Result<Change<Thread>, StorageUnavailable> => {
            const { threadId } = thread
            if (!isUuid(threadId) || threads.has(threadId)) return refused(`thread ${threadId}`)
            threads.set(threadId, room)
            room.threads.set(threadId, thread)
            return Result.succeed(threadChange("thread.created", thread))
          }),
        list: (roomId, archived, query) =>
          Effect.sync(() =>
            partOf(
              [...(rooms.get(roomId)?.threads.values() ?? [])].filter(
                (thread) => archived === undefined || thread.archived === archived
              ),
              ({ createdAt, threadId }) => [createdAt, threadId],
              query,
              listLimits.threads
            )
          ),
        change: (roomId, threadId, change, actor) =>
          write(state, roomId, actor, "member", (room) =>
            Result.map(
              Result.fromNullishOr(room.threads.get(threadId), () => new ThreadNotFound()),
              (before) => {
                const after = changedThread(before, change)
                if (after === undefined) return new Unchanged(before)
                room.threads.set(threadId, after)
                return threadChange("thread.changed", after)
              }
            )
          ),
        roomOf: (threadId) =>
          step(() => Result.fromNullishOr(threads.get(threadId)?.room.roomId, () => new ThreadNotFound()))
      }),
      Context.add(DocumentStore, {
        get: (roomId, name) => step(() => Result.map(openRoom(state, roomId), (room) => find(room, name))),
        update: (roomId, update, actor) =>
          write(state, roomId, actor, "member", (room) =>
            Result.map(updatedDocument(find(room), update, actor), (change) => {
              room.documents.set(change.value.name, change.value)
              return change
            })
          ),
        switch: (roomId, name, actor) =>
          write(state, roomId, actor, "member", (room) => {
            const document = find(room, name)
            const change = room.document === name ? new Unchanged(document) : switchedDocument(document)
            room.document = name
            return Result.succeed(change)
          })
      }),
      Context.add(ContactStore, {
        add: (owner, contact) =>
          step(() => {
            const theirs = contacts.get(owner) ?? new Map<string, Contact>()
            const before = theirs.get(contact.user)
            if (before === undefined && theirs.size >= maxContacts) {
              return Result.fail(new TooManyContacts({ most: maxContacts }))
            }
            const stored = { ...contact, addedAt: before?.addedAt ?? contact.addedAt }
            contacts.set(owner, theirs.set(contact.user, stored))
            return Result.succeed(stored)
          }),
        list: (owner, query) =>
          Effect.sync(() =>
            partOf(contacts.get(owner)?.values() ?? [], ({ addedAt, user }) => [addedAt, user], query, maxContacts)
          ),
        remove: (owner, user) =>
          Effect.sync(() => {
            const theirs = contacts.get(owner)
            theirs?.delete(user)
            if (theirs?.size === 0) contacts.delete(owner)
          }),
        addFeedback: (one) =>
          step(() => {
            if (feedback.has(one.feedbackId)) return refused(`feedback ${one.feedbackId}`)
            feedback.set(one.feedbackId, one)
            return Result.void
          })
      }),
      Context.add(Outbox, {
        pending: (roomId, after) =>
          Effect.sync(() => {
            const room = rooms.get(roomId)
            if (room === undefined) return []
            const { epochCounter, pending } = room
            return [...pending.values()]
              .filter(({ change }) => change.changeNumber > after)
              .slice(0, outboxLimits.pending)
              .map(({ change }) => ({ ...change, epochCounter }))
          }),
        pendingRooms: (olderThanMs) =>
          Effect.map(Clock.currentTimeMillis, (now) => {
            const oldest: Array<readonly [storedAt: number, roomId: string]> = []
            for (const [roomId, { pending }] of rooms) {
              const [first] = pending.values()
              if (first !== undefined && first.storedAt < now - olderThanMs) oldest.push([first.storedAt, roomId])
            }
            return oldest
              .sort(([one], [other]) => one - other)
              .slice(0, outboxLimits.pendingRooms)
              .map(([, roomId]) => roomId)
          }),
        remove: (changes) =>
          Effect.sync(() => {
            for (const { changeNumber, roomId } of changes) rooms.get(roomId)?.pending.delete(changeNumber)
          })
      }),
      // Everything at once.
      Context.add(RoomPurge, {
        purge: ({ fence, name }) =>
          Effect.flatMap(Clock.currentTimeMillis, (now) => {
            if ((fences.get(name) ?? 0) > fence) return Effect.fail(new Fenced({ name, fence }))
            fences.set(name, fence)
            let count = 0
            for (const [id, { expiresAt }] of invites) {
              if (expiresAt !== undefined && expiresAt < now && invites.delete(id)) count++
            }
            for (const [roomId, room] of rooms) {
              if (room.deletedAt === undefined || room.deletedAt > now - graceMs || room.pending.size > 0) continue
              for (const { message } of room.messages) if (messages.delete(message.messageId)) count++
              for (const threadId of room.threads.keys()) threads.delete(threadId)
              for (const [id, invite] of invites) if (invite.roomId === roomId) invites.delete(id)
              rooms.delete(roomId)
              count++
            }
            return Effect.succeed(count)
          })
      })
    )
  })
)

/** Shared by the instances over one state. */
export const layerShared = Layer.mergeAll(stores, InviteStoreMemory.layer, MessageStoreMemory.layer)

/** Of one instance; with the state, for what else stores in it (the flush of a write buffer). */
export const layer = layerShared.pipe(Layer.provideMerge(MemoryRooms.layer))
