// An integration: the HTTP service that answers a call, as an operator defines it; and how a call of it can fail.
import { Effect, Schema } from "effect"

/** What must hold for the record before the reply is sent: queued in memory, in Redis, or committed in Postgres. */
export const Ack = Schema.Literals(["memory", "redis", "postgres"])
export type Ack = typeof Ack.Type

const withDefault = <S extends Schema.Constraint>(schema: S, value: S["Encoded"]) =>
  Schema.withDecodingDefaultKey<S>(Effect.succeed(value))(schema)

const Strings = Schema.Record(Schema.String, Schema.String)
const between = (minimum: number, maximum: number) =>
  Schema.Finite.check(Schema.isInt(), Schema.isBetween({ minimum, maximum }))

/** Only `url` is required. */
export const IntegrationDefinition = Schema.Struct({
  url: Schema.String.check(Schema.isPattern(/^https?:\/\//)),
  method: withDefault(Schema.Literals(["GET", "POST"]), "POST"),
  timeoutMs: withDefault(between(1, 600_000), 5000),
  maxConcurrent: withDefault(between(1, 100_000), 200),
  retries: withDefault(between(0, 10), 0),
  headers: withDefault(Strings, {}),
  query: withDefault(Strings, {}),
  /** The body that POST sends instead of `{input, config}`: JSON with placeholders. */
  body: Schema.optionalKey(Schema.Json),
  slashesInPath: Schema.optionalKey(
    Schema.Boolean.annotate({
      description: "whether values in the path may hold / and \\, encoded; else they are refused (. and .. always are)"
    })
  ),
  result: Schema.optionalKey(Strings),
  errors: withDefault(
    Strings.annotate({
      description:
        "texts by status; {/pointer} in a text stands for what that JSON pointer finds in the error answer, if it is a text: without control characters, at most 500 characters"
    }),
    {}
  ),
  cacheTtlMs: withDefault(between(0, 86_400_000), 0),
  ack: withDefault(Ack, "memory"),
  overflow: withDefault(Schema.Literals(["reject", "spill", "drop"]), "spill")
})
export type IntegrationDefinition = typeof IntegrationDefinition.Type

export interface Integration {
  readonly name: string
  readonly version: number
  readonly definition: IntegrationDefinition
}

/** There is no integration of that name. */
export class IntegrationNotFound extends Schema.TaggedError<IntegrationNotFound>()("IntegrationNotFound", {
  integration: Schema.String
}) {
  override get message() {
    return `no integration named ${this.integration}`
  }
}

// For the log, not for clients: the integration, and what exactly was wrong.
const forTheLog = { integration: Schema.optionalKey(Schema.String), detail: Schema.optionalKey(Schema.String) }

/** For traces and logs. Clients get the texts of gateway/handlers/ErrorReply.ts. */
const inWords = ({ detail, integration }: { readonly integration?: string; readonly detail?: string }, what: string) =>
  `${integration ?? "an integration"}: ${detail ?? what}`

/** No complete answer within `timeoutMs`, the wait for a slot included. */
export class IntegrationTimeout extends Schema.TaggedError<IntegrationTimeout>()("IntegrationTimeout", forTheLog) {
  override get message() {
    return inWords(this, "no whole answer in time")
  }
}

/** The connection failed or broke. */
export class IntegrationUnreachable extends Schema.TaggedError<IntegrationUnreachable>()("IntegrationUnreachable", {
  ...forTheLog,
  reason: Schema.String
}) {
  override get message() {
    return inWords(this, this.reason)
  }
}

/** The status of its answer is not 2xx; `text` comes from the definition's `errors`. */
export class IntegrationRejected extends Schema.TaggedError<IntegrationRejected>()("IntegrationRejected", {
  ...forTheLog,
  status: Schema.Finite,
  text: Schema.UndefinedOr(Schema.String)
}) {
  override get message() {
    return inWords(this, `status ${this.status}`)
  }
}

/** Its answer is too big, is not JSON, or lacks what `result` points at. */
export class IntegrationInvalidResponse extends Schema.TaggedError<IntegrationInvalidResponse>()(
  "IntegrationInvalidResponse",
  { ...forTheLog, status: Schema.optionalKey(Schema.Finite) }
) {
  override get message() {
    return inWords(this, "an answer that can't be used")
  }
}

/** Its circuit breaker is open: it failed so often that it is not called for a while. */
export class IntegrationOpen extends Schema.TaggedError<IntegrationOpen>()("IntegrationOpen", {
  ...forTheLog,
  retryAfterMs: Schema.Finite
}) {
  override get message() {
    return inWords(this, "its circuit is open")
  }
}

/** A value of the params is not usable, such as one that can't stand where a placeholder puts it. */
export class InvalidInput extends Schema.TaggedError<InvalidInput>()("InvalidInput", {
  reason: Schema.String,
  /** Where in the params it is; by default `input`. */
  path: Schema.optionalKey(Schema.Array(Schema.String))
}) {}
