// The methods of the assistant.
import { Schema } from "effect"
import { GenerationBusy, GenerationCancelled } from "../../domain/Generation.ts"
import {
  IntegrationInvalidResponse,
  IntegrationNotFound,
  IntegrationOpen,
  IntegrationRejected,
  IntegrationTimeout,
  IntegrationUnreachable
} from "../../domain/Integration.ts"
import { Body, IdempotencyKey, Message, MessageNotFound } from "../../domain/Message.ts"
import { Overloaded } from "../../domain/Overload.ts"
import { BufferFull, Id, StoresDiffer } from "../../domain/Room.ts"
import { ConfigUnavailable } from "../../domain/UserConfig.ts"
import { AnyJson, action, mixed, Nothing, roomReads, roomWrites } from "./Method.ts"

/** What any exchange with an integration may fail with. */
export const exchanges = [
  IntegrationNotFound,
  ConfigUnavailable,
  IntegrationTimeout,
  IntegrationUnreachable,
  IntegrationRejected,
  IntegrationInvalidResponse,
  IntegrationOpen,
  Overloaded
] as const

export const AssistantMethods = {
  // The prompt is a write; the generation may take minutes.
  "assistant.generate": mixed(
    "sends a prompt to the room and has the `generate` integration answer it; the same prompt again, while unanswered, is not sent twice",
    { roomId: Id, prompt: Body, key: Schema.optionalKey(IdempotencyKey) },
    Schema.Struct({ prompt: Message, response: Message }),
    [...exchanges, ...roomWrites, BufferFull, MessageNotFound, GenerationBusy, GenerationCancelled]
  ),
  "assistant.cancel": action(
    "cancels the generation of a response; for the prompt's author and for owners",
    { roomId: Id, messageId: Id },
    Nothing,
    [...roomReads, MessageNotFound]
  ),
  "assistant.coach": action(
    "returns what the `analyze` integration says about a draft; the analysis of a text is cached for an hour",
    { text: Body },
    Schema.Struct({ analysis: AnyJson, cached: Schema.Boolean }),
    [...exchanges, StoresDiffer]
  )
} as const
