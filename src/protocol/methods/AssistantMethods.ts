// The methods of the assistant.
import { Schema } from "effect"
import { Body, IdempotencyKey, Message } from "../../domain/Message.ts"
import { Id } from "../../domain/Room.ts"
import type { ErrorType } from "../ErrorCodes.ts"
import { AnyJson, method, Nothing, roomWrites } from "./Method.ts"

/** What may come of any exchange with an integration. */
export const exchanges: ReadonlyArray<ErrorType> = [
  "IntegrationNotFound",
  "ConfigUnavailable",
  "IntegrationTimeout",
  "IntegrationUnreachable",
  "IntegrationRejected",
  "IntegrationInvalidResponse",
  "IntegrationOpen",
  "Overloaded"
]

export const AssistantMethods = {
  "assistant.generate": method(
    "has the `generate` integration answer a prompt in the room; asked again while it is unanswered, it is the same prompt",
    { roomId: Id, prompt: Body, key: Schema.optionalKey(IdempotencyKey) },
    Schema.Struct({ prompt: Message, response: Message }),
    [...exchanges, ...roomWrites, "BufferFull", "MessageNotFound", "GenerationBusy", "GenerationCancelled"]
  ),
  "assistant.cancel": method(
    "ends the generation of a prompt's response; by the prompt's author, or an owner",
    { roomId: Id, messageId: Id },
    Nothing,
    [...roomWrites, "MessageNotFound"]
  ),
  "assistant.coach": method(
    "what the `analyze` integration says of a draft; the same text is analysed once an hour",
    { text: Body },
    Schema.Struct({ analysis: AnyJson, cached: Schema.Boolean }),
    exchanges
  )
} as const
