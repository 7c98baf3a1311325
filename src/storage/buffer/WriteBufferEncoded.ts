// Encodes and decodes for every driver of the write buffer: a driver (Redis, or memory) keeps texts.
import { Effect } from "effect"
import { updatedEvent } from "../../domain/Document.ts"
import type { Message } from "../../domain/Message.ts"
import { decodeDocument, decodeMessage, messageTail, messageText } from "./StoredEntries.ts"
import type {
  Appended,
  BufferedDocument,
  BufferUnavailable,
  Change,
  Dirty,
  DirtyDocument,
  Update,
  Updated,
  WaitingQuery,
  WriteBuffer
} from "./WriteBuffer.ts"

type Encoded<A> = Effect.Effect<A, BufferUnavailable>

/** A document as a driver has it: its text is in `event`. */
export type EncodedDocument = Omit<BufferedDocument, "text"> & { readonly event: string }
export interface EncodedMessage extends Pick<Message, "roomId" | "messageId" | "author" | "at"> {
  readonly key: string | undefined
  /** Its text after the ordinal, see StoredEntries.ts. */
  readonly tail: string
  readonly event: string
}
type EncodedUpdated =
  | Exclude<Updated, { readonly _tag: "Conflict" }>
  | { readonly _tag: "Conflict"; readonly version: number; readonly event: string }

/** Some of the messages that a query asks for, newest first. A driver may stop before it has looked at all. */
export interface EncodedPage {
  readonly texts: ReadonlyArray<string>
  /** The ordinal of the last message that it looked at; undefined: there are no older ones. */
  readonly from: number | undefined
  /** Whether it stopped at a limit of the query. */
  readonly isCut: boolean
  readonly end: number | undefined
  readonly oldest: number | undefined
}

type Port = WriteBuffer["Service"]
type Unencoded = "roomOfMessage" | "claim" | "settle" | "depth" | "rescued" | "loss" | "onReturn"

export interface WriteBufferDriver extends Pick<Port, Unencoded> {
  readonly document: (roomId: string, name: string | undefined, lease: number) => Encoded<EncodedDocument | undefined>
  readonly load: (
    roomId: string,
    document: Omit<EncodedDocument, "savedVersion">,
    isOpen: boolean,
    lease: number
  ) => Encoded<void>
  readonly update: (roomId: string, update: Update) => Encoded<EncodedUpdated>
  readonly append: (message: EncodedMessage) => Encoded<Appended>
  readonly message: (roomId: string, messageId: string) => Encoded<string | undefined>
  /** Replaces the text of this version. */
  readonly replace: (
    roomId: string,
    messageId: string,
    version: number,
    text: string,
    change: Change
  ) => Encoded<boolean>
  readonly page: (roomId: string, query: WaitingQuery) => Encoded<EncodedPage>
  readonly dirty: (roomId: string) => Encoded<
    Pick<Dirty, "readAt" | "isWhole"> & {
      readonly documents: ReadonlyArray<Omit<DirtyDocument, "text"> & { readonly event: string }>
      readonly texts: ReadonlyArray<string>
    }
  >
}

const decodeText = <A extends { readonly event: string }>({ event, ...rest }: A) =>
  Effect.map(decodeDocument(event), ({ text }) => ({ ...rest, text }))

const decodeMessages = (texts: ReadonlyArray<string>) => Effect.forEach(texts, decodeMessage)

export const makeEncoded = (driver: WriteBufferDriver): Port => ({
  ...driver,
  document: (roomId, name, lease) =>
    Effect.flatMap(driver.document(roomId, name, lease), (found) =>
      found === undefined ? Effect.undefined : decodeText(found)
    ),
  load: (roomId, { name, text, version }, isOpen, lease) =>
    driver.load(roomId, { name, version, event: updatedEvent(name, version, "", text) }, isOpen, lease),
  update: (roomId, update) =>
    Effect.flatMap(
      driver.update(roomId, update),
      (updated): Encoded<Updated> => (updated._tag === "Conflict" ? decodeText(updated) : Effect.succeed(updated))
    ),
  append: (message, key, event) => {
    const { at, author, messageId, roomId } = message
    return driver.append({
      roomId,
      messageId,
      author,
      at,
      key,
      event,
      tail: messageTail({ key: key ?? null, message })
    })
  },
  message: (roomId, messageId) =>
    Effect.flatMap(driver.message(roomId, messageId), (text) =>
      text === undefined ? Effect.undefined : decodeMessage(text)
    ),
  replace: (entry, change) => {
    const { message, ordinal, version } = entry
    const text = messageText(version, ordinal, messageTail(entry))
    return driver.replace(message.roomId, message.messageId, version - 1, text, change)
  },
  messages: Effect.fnUntraced(function* (roomId, query) {
    const first = yield* driver.page(roomId, query)
    const texts = [...first.texts]
    let last = first
    for (;;) {
      const limit = query.limit - texts.length
      const maxBytes = query.maxBytes - texts.reduce((sum, text) => sum + text.length, 0)
      if (last.isCut || last.from === undefined || maxBytes <= 0) break
      last = yield* driver.page(roomId, { ...query, before: last.from, limit, maxBytes })
      texts.push(...last.texts)
    }
    const entries = yield* decodeMessages(texts)
    // What was appended meanwhile is newer: `end` and `oldest` are those of the first page.
    return { entries: entries.reverse(), from: last.from, end: first.end, oldest: first.oldest }
  }),
  dirty: Effect.fnUntraced(function* (roomId) {
    const { documents, isWhole, readAt, texts } = yield* driver.dirty(roomId)
    const messages = yield* decodeMessages(texts)
    return {
      readAt,
      isWhole,
      documents: yield* Effect.forEach(documents, decodeText),
      messages: messages.sort((a, b) => a.ordinal - b.ordinal)
    }
  })
})
