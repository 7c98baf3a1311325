// Threads of rooms: the port. ThreadStoreSql.ts and memory/ThreadStoreMemory.ts implement it.
import { Context } from "effect"
import type { Actor } from "../../domain/Actor.ts"
import type { Thread, ThreadNotFound } from "../../domain/Message.ts"
import type { Operation, Write, Writes } from "./Committed.ts"
import type { ListQuery } from "./ListPart.ts"

export type ThreadChange = Partial<Pick<Thread, "title" | "category" | "archived">>

export class ThreadStore extends Context.Service<
  ThreadStore,
  {
    readonly create: (thread: Thread, actor: Actor) => Write<Thread>
    /** Oldest first; at most 1,000. `archived` undefined: all of them. */
    readonly list: (
      roomId: string,
      archived: boolean | undefined,
      query?: ListQuery
    ) => Operation<ReadonlyArray<Thread>>
    readonly change: (
      roomId: string,
      threadId: string,
      change: ThreadChange,
      actor: Actor
    ) => Write<Thread, ThreadNotFound>
    /** The room that the thread belongs to. A thread never moves, so it may be answered from memory. */
    readonly roomOf: (threadId: string) => Operation<string, ThreadNotFound>
  }
>()("hotpath/storage/rooms/ThreadStore") {
  static readonly writes: Writes<ThreadStore["Service"]> = { create: true, change: true }
}
