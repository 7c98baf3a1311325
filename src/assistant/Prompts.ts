// Stores prompts and their responses, as messages. A prompt that was not answered (its instance was killed, the
// integration failed, it was cancelled) stays, marked as unanswered; asking the same again takes it up, so that it is
// stored once. A response's id is derived from its prompt's, so that it is stored once, too.
import { hash } from "node:crypto"
import { Context, Effect, Layer } from "effect"
import { SecureRandom } from "effect/crypto"
import { Locks } from "../cluster/locks/Locks.ts"
import { actorNow } from "../domain/Actor.ts"
import { GenerationCancelled } from "../domain/Generation.ts"
import { keyedId } from "../domain/Ids.ts"
import { InvalidInput } from "../domain/Integration.ts"
import { type Message, MessageNotFound, type ThreadNotFound } from "../domain/Message.ts"
import type { BufferFull } from "../domain/Room.ts"
import { now } from "../domain/Time.ts"
import { OutboxRelay } from "../rooms/delivery/OutboxRelay.ts"
import type { WriteRefused } from "../storage/rooms/Committed.ts"
import { MessageStore } from "../storage/rooms/MessageStore.ts"

export interface Asked {
  readonly roomId: string
  readonly prompt: string
  /** Names the prompt: the same author and key in a room are the same prompt. */
  readonly key?: string | undefined
}

export interface Opened {
  readonly prompt: Message
  readonly isNew: boolean
}

export interface Answered {
  readonly prompt: Message
  readonly response: Message
}

/** For finding a prompt or sending it, which takes about two statements. */
const lockOptions = { ttl: "5 seconds", wait: "2 seconds" } as const

const responseKey = (promptId: string) => `response:${promptId}`
export const responseIdOf = ({ author, messageId, roomId }: Message): string =>
  keyedId(roomId, author, responseKey(messageId))

export class Prompts extends Context.Service<
  Prompts,
  {
    /** Fails when the prompt was deleted or edited since. */
    readonly check: (prompt: Message) => Effect.Effect<void, WriteRefused | MessageNotFound | GenerationCancelled>
    /** The user's unanswered prompt of the same words (with a key, the prompt of that key), or a new one. */
    readonly open: (
      user: string,
      asked: Asked
    ) => Effect.Effect<Opened, WriteRefused | BufferFull | ThreadNotFound | InvalidInput>
    /** The response of a prompt, if there is one. Marks the prompt as answered. */
    readonly find: (prompt: Message) => Effect.Effect<Answered | undefined, WriteRefused | MessageNotFound>
    /** Stores the response and marks the prompt as answered. */
    readonly answer: (
      prompt: Message,
      text: string
    ) => Effect.Effect<Answered, WriteRefused | BufferFull | ThreadNotFound | MessageNotFound | GenerationCancelled>
  }
>()("hotpath/assistant/Prompts") {
  static readonly layer = Layer.effect(
    Prompts,
    Effect.gen(function* () {
      const store = (yield* OutboxRelay).publishing(yield* MessageStore, MessageStore.writes)
      const locks = yield* Locks

      const send = Effect.fnUntraced(function* (
        user: string,
        { prompt: body, roomId }: Asked,
        messageId: string,
        key: string | undefined,
        at: string
      ) {
        return yield* store.send({ messageId, roomId, threadId: null, author: user, kind: "prompt", body, at, key })
      })

      const keyed = Effect.fnUntraced(function* (user: string, asked: Asked, key: string) {
        const at = yield* now
        const prompt = yield* send(user, asked, keyedId(asked.roomId, user, key), key, at)
        if (prompt.kind !== "prompt")
          return yield* new InvalidInput({ reason: "the key is another message's", path: ["key"] })
        return { prompt, isNew: prompt.at === at }
      })

      const waitingOr = <E>(user: string, { prompt, roomId }: Asked, otherwise: Effect.Effect<Opened, E>) =>
        Effect.flatMap(
          store.unanswered(roomId, user, prompt),
          (waiting): Effect.Effect<Opened, E> =>
            waiting === undefined ? otherwise : Effect.succeed({ prompt: waiting, isNew: false })
        )

      const unkeyed = (user: string, asked: Asked) => {
        const sent = Effect.gen(function* () {
          const prompt = yield* send(user, asked, SecureRandom.uuidV7Unsafe(), undefined, yield* now)
          return { prompt, isNew: true }
        })
        const own = waitingOr(user, asked, sent)
        const name = `prompt:${asked.roomId}:${hash("sha256", JSON.stringify([user, asked.prompt]), "hex")}`
        // Without the lock, the worst outcome is a second prompt.
        const locked = Effect.catchTag(locks.withAdvisoryLock(name, lockOptions, own), "LockBusy", () => own)
        return waitingOr(user, asked, locked)
      }

      /** The prompt as it is now; fails if it was deleted. */
      const present = Effect.fnUntraced(function* ({ messageId, roomId }: Message) {
        const prompt = yield* store.find(roomId, messageId)
        return prompt === undefined || prompt.deletedAt !== null ? yield* new MessageNotFound() : prompt
      })

      const sameWords = ({ body, messageId }: Message, prompt: Message) =>
        prompt.body === body ? Effect.succeed(prompt) : Effect.fail(new GenerationCancelled({ messageId }))

      const mark = Effect.fnUntraced(function* (prompt: Message, response: Message) {
        // The author used the response's key for a message of their own.
        if (response.kind !== "response") return yield* new MessageNotFound()
        const { author, messageId, roomId } = prompt
        const marking = store.markAnswered(roomId, messageId, response.messageId, yield* actorNow(author))
        return { prompt: prompt.answer === response.messageId ? prompt : yield* marking, response }
      })

      return Prompts.of({
        // Untraced: a generation checks every second.
        check: Effect.fnUntraced(function* (opened) {
          const { messageId, roomId } = opened
          const prompt = yield* store.find(roomId, messageId)
          // A prompt that is not found may be unavailable for now; it is looked for again when it is answered.
          if (prompt === undefined) return
          if (prompt.deletedAt !== null) return yield* new MessageNotFound()
          yield* sameWords(opened, prompt)
        }),
        open: Effect.fn("Prompts.open")(function* (user, asked) {
          return yield* asked.key === undefined ? unkeyed(user, asked) : keyed(user, asked, `prompt:${asked.key}`)
        }),
        find: Effect.fn("Prompts.find")(function* (opened) {
          const prompt = yield* present(opened)
          const response = yield* store.find(prompt.roomId, responseIdOf(prompt))
          return response === undefined ? undefined : yield* mark(prompt, response)
        }),
        answer: Effect.fn("Prompts.answer")(function* (opened, text) {
          const prompt = yield* sameWords(opened, yield* present(opened))
          const { author, messageId, roomId, threadId } = prompt
          const response = {
            messageId: responseIdOf(prompt),
            roomId,
            threadId,
            author,
            kind: "response" as const,
            body: text,
            at: yield* now,
            key: responseKey(messageId)
          }
          return yield* mark(prompt, yield* store.send(response))
        })
      })
    })
  )
}
