// Every method a client may call: its name, kind, params, result and errors. They decode the frames, type the handlers,
// and generate the OpenRPC document and the README's table.
import { Schema } from "effect"
import { RecordUnavailable } from "../../domain/CallRecord.ts"
import { Ack, type InvalidInput } from "../../domain/Integration.ts"
import { nearest } from "../../domain/Nearest.ts"
import { Draining, Overloaded, RateLimited, ReplyTooLarge } from "../../domain/Overload.ts"
import { RoomEvent } from "../../domain/RoomEvent.ts"
import { textBetween } from "../../domain/Text.ts"
import type { ErrorType, ProtocolError } from "../ErrorCodes.ts"
import { AssistantMethods, exchanges } from "./AssistantMethods.ts"
import { MessageMethods } from "./MessageMethods.ts"
import { AnyJson, action, Count, intBetween, type MethodDefinition, Nothing, read } from "./Method.ts"
import { RoomMethods } from "./RoomMethods.ts"

export const Methods = {
  "rpc.discover": read("returns the OpenRPC document of this service", {}, AnyJson, []),
  "session.get": read(
    "describes this connection",
    {},
    Schema.Struct({ connectionId: Schema.String, user: Schema.String, connectedAt: Schema.String, requests: Count }),
    []
  ),
  "stats.subscribe": action(
    "starts `stats` notifications; the first one comes at once",
    { everyMs: intBetween(100, 3_600_000) },
    Nothing,
    []
  ),
  "stats.unsubscribe": action("stops the `stats` notifications", {}, Nothing, []),
  call: action(
    "calls an integration with the user's configuration and returns its answer",
    {
      integration: textBetween(1, 128),
      input: AnyJson,
      ack: Schema.optionalKey(Ack)
    },
    Schema.Struct({ status: Count, body: AnyJson, configVersion: Count, recordId: Schema.String, ack: Ack }),
    [...exchanges, RecordUnavailable]
  ),
  ...RoomMethods,
  ...MessageMethods,
  ...AssistantMethods
} as const satisfies Record<string, MethodDefinition>

export type MethodName = keyof typeof Methods
export type Params<M extends MethodName> = (typeof Methods)[M]["params"]["Type"]
export type Result<M extends MethodName> = (typeof Methods)[M]["result"]["Type"]

export const isMethodName = (name: string): name is MethodName => Object.hasOwn(Methods, name)

/** Characters that an error repeats of a method's name. */
const maxShownName = 64

/** The error for an unknown method, with the name that was most likely meant. */
export const methodNotFound = (method: string): ProtocolError => {
  const meant = nearest(method, Object.keys(Methods))
  const name = method.length > maxShownName ? `${method.slice(0, maxShownName)}…` : method
  const hint = meant === undefined ? ": rpc.discover lists them" : `: did you mean ${meant}?`
  return {
    _tag: "MethodNotFound",
    message: `No method named ${JSON.stringify(name)}${hint}`,
    fields: { method: name, ...(meant !== undefined && { nearest: meant }) }
  }
}

const common = [RateLimited, ReplyTooLarge, Overloaded, Draining] as const

/** The types of the errors that any method may fail with. */
export const commonErrors: ReadonlyArray<ErrorType> = [
  "InvalidParams",
  ...common.map((error) => error.identifier as ErrorType),
  "InternalError"
]

/** What a method's handler may fail with. `InvalidInput` is answered as `InvalidParams`. */
export type MethodError<M extends MethodName = MethodName> =
  | InstanceType<(typeof Methods)[M]["errors"][number]>
  | InstanceType<(typeof common)[number]>
  | InvalidInput

/** Every error that a client can get. */
export type ClientError = MethodError | ProtocolError

/** What the server sends without a request. */
export const Notifications = {
  connected: {
    summary: "sent once, before anything else",
    params: Schema.Struct({
      connectionId: Schema.String,
      user: Schema.String,
      protocol: Schema.String,
      heartbeatMs: Count,
      limits: Schema.Struct({ maxFrameBytes: Count, maxInFlight: Count, requestRate: Count })
    })
  },
  "room.event": {
    summary: "an event of a room that this connection is subscribed to; `seq` increases by one with each",
    params: Schema.Struct({ roomId: Schema.String, seq: Count, at: Schema.String, event: RoomEvent })
  },
  "room.signal": {
    summary: "a user in the room signals something: a cursor, that they type; not numbered, and not kept",
    params: Schema.Struct({
      roomId: Schema.String,
      user: Schema.String,
      connectionId: Schema.String,
      name: Schema.String,
      data: AnyJson
    })
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
