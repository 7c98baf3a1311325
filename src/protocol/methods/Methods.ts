// Every method a client may call: its name, params, result and errors. The same schemas decode the frames, type the
// handlers and generate the OpenRPC document and README's table.
import { Schema } from "effect"
import { Ack } from "../../domain/Integration.ts"
import { RoomEvent } from "../../domain/RoomEvent.ts"
import { textBetween } from "../../domain/Text.ts"
import type { ErrorType } from "../ErrorCodes.ts"
import { AssistantMethods, exchanges } from "./AssistantMethods.ts"
import { DocumentMethods } from "./DocumentMethods.ts"
import { MessageMethods } from "./MessageMethods.ts"
import { AnyJson, Count, type MethodDefinition, method, Nothing } from "./Method.ts"
import { RoomMethods } from "./RoomMethods.ts"

export const Methods = {
  "rpc.discover": method("the OpenRPC document of this service", {}, AnyJson),
  "session.get": method(
    "what this connection is",
    {},
    Schema.Struct({ connectionId: Schema.String, user: Schema.String, connectedAt: Schema.String, requests: Count })
  ),
  "stats.subscribe": method(
    "sends `stats` notifications, the first one at once",
    { everyMs: Schema.Int.check(Schema.isBetween({ minimum: 100, maximum: 3_600_000 })) },
    Nothing
  ),
  "stats.unsubscribe": method("ends the `stats` notifications", {}, Nothing),
  call: method(
    "asks an integration, with the user's configuration, and answers with what it said",
    {
      integration: textBetween(1, 128),
      input: AnyJson,
      ack: Schema.optionalKey(Ack)
    },
    Schema.Struct({ status: Count, body: AnyJson, configVersion: Count, recordId: Schema.String, ack: Ack }),
    [...exchanges, "RecordUnavailable"]
  ),
  ...RoomMethods,
  ...MessageMethods,
  ...DocumentMethods,
  ...AssistantMethods
} as const satisfies Record<string, MethodDefinition>

export type MethodName = keyof typeof Methods
export type Params<M extends MethodName> = (typeof Methods)[M]["params"]["Type"]

export const isMethodName = (name: string): name is MethodName => Object.hasOwn(Methods, name)

/** Any method may fail with these. */
export const commonErrors: ReadonlyArray<ErrorType> = [
  "InvalidParams",
  "RateLimited",
  "ReplyTooLarge",
  "Overloaded",
  "Draining",
  "InternalError"
]

/** What the server says unasked. */
export const Notifications = {
  connected: {
    summary: "once, first",
    params: Schema.Struct({
      connectionId: Schema.String,
      user: Schema.String,
      protocol: Schema.String,
      heartbeatMs: Count,
      limits: Schema.Struct({ maxFrameBytes: Count, maxInFlight: Count, requestRate: Count })
    })
  },
  "room.event": {
    summary: "something happened in a room that this connection joined; `seq` counts them without a gap",
    params: Schema.Struct({ roomId: Schema.String, seq: Count, at: Schema.String, event: RoomEvent })
  },
  stats: {
    summary: "the instance's counters, after `stats.subscribe`",
    params: Schema.Struct({
      connections: Count,
      requests: Count,
      successful: Count,
      failed: Count,
      queued: Count,
      completed: Count,
      dropped: Count,
      spilled: Count
    })
  },
  draining: {
    summary: "the instance is shutting down: finish and reconnect",
    params: Schema.Struct({ deadlineMs: Count })
  }
} as const

/** The protocol's version, sent in `connected`. */
export const protocolVersion = "hotpath/1"
