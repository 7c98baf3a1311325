// The schemas of the operators' API. They decode its requests and generate /openapi.json and /docs. Errors are RFC 9457
// problem details.
import { Schema } from "effect"
import { HttpApi, HttpApiEndpoint, HttpApiError, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { UserId } from "../domain/Identity.ts"
import { IntegrationDefinition } from "../domain/Integration.ts"
import { ConfigObject } from "../domain/UserConfig.ts"
import { AdminAuth, AdminProblems } from "./AdminMiddleware.ts"

const Version = Schema.Int.check(Schema.isGreaterThanOrEqualTo(0)).annotate({
  description: "counts the changes of this name or user, including deletions"
})
const Time = Schema.String.annotate({ description: "ISO 8601" })

/** 1 to 128 characters, no control characters. */
const IntegrationName = Schema.String.check(
  Schema.isMinLength(1),
  Schema.isMaxLength(128),
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it refuses
  Schema.isPattern(/^[^\u0000-\u001f\u007f]*$/)
)

const Integration = Schema.Struct({
  name: Schema.String,
  version: Version,
  updatedAt: Time,
  ...IntegrationDefinition.fields
})
const Config = Schema.Struct({ userId: Schema.String, version: Version, updatedAt: Time, config: ConfigObject })

const RecordItem = Schema.Struct({
  recordId: Schema.String,
  user: Schema.String,
  integration: Schema.String,
  input: Schema.Json,
  configVersion: Schema.Int,
  status: Schema.Int,
  body: Schema.Json,
  requestedAt: Time,
  repliedAt: Time,
  lookupMs: Schema.Finite,
  fetchMs: Schema.Finite,
  connectionId: Schema.String,
  traceId: Schema.NullOr(Schema.String)
})

/** A dead letter: the record that Postgres refused, and the reason (an SQLSTATE, or a text). */
const DeadLetterItem = Schema.Struct({
  recordId: Schema.String,
  reason: Schema.String,
  diedAt: Time,
  text: Schema.String
})

const withVersion = <S extends Schema.Top>(schema: S) => HttpApiSchema.WithHeaders(schema, { etag: Schema.String })

/** The present version is not the one in `If-Match`. `version` is the present one, 0 when there is no entry. */
export class VersionMismatchProblem extends HttpApiError.Problem<VersionMismatchProblem>()(
  "VersionMismatchProblem",
  { type: "urn:hotpath:problem:version-mismatch", status: 412, title: "Version mismatch" },
  { version: Version }
) {}

export class NotFoundProblem extends HttpApiError.Problem<NotFoundProblem>()("NotFoundProblem", {
  type: "urn:hotpath:problem:not-found",
  status: 404,
  title: "Not found"
}) {}

/** The body is invalid: the field, and the reason. */
export class InvalidProblem extends HttpApiError.Problem<InvalidProblem>()(
  "InvalidProblem",
  { type: "urn:hotpath:problem:invalid", status: 422, title: "Invalid value" },
  { field: Schema.String, reason: Schema.String }
) {}

/** Postgres is unavailable: nothing was changed, or the outcome is unknown (try again). */
export class UnavailableProblem extends HttpApiError.Problem<UnavailableProblem>()("UnavailableProblem", {
  type: "urn:hotpath:problem:unavailable",
  status: 503,
  title: "The database is unavailable"
}) {}

const conditions = {
  "if-match": Schema.optionalKey(
    Schema.String.annotate({ description: "the version that the entry must have; otherwise 412" })
  ),
  "if-none-match": Schema.optionalKey(
    Schema.String.annotate({ description: "`*`: the entry must not exist; otherwise 412" })
  )
}

const paging = {
  limit: Schema.optionalKey(
    Schema.FiniteFromString.check(Schema.isInt(), Schema.isBetween({ minimum: 1, maximum: 500 }))
  ),
  cursor: Schema.optionalKey(Schema.String)
}

/** A page, and the cursor of the next one; null for the last page. */
const page = <S extends Schema.Constraint>(item: S) => ({
  query: paging,
  success: Schema.Struct({ items: Schema.Array(item), next: Schema.NullOr(Schema.String) }),
  error: UnavailableProblem
})
const read = <P, S extends Schema.Top>(params: P, item: S) => ({
  params,
  success: withVersion(item),
  error: [NotFoundProblem, UnavailableProblem] as const
})
const edits = [InvalidProblem, VersionMismatchProblem, UnavailableProblem] as const
const put = <P, S extends Schema.Top>(params: P, payload: S) => ({
  params,
  headers: conditions,
  payload,
  success: withVersion(Schema.Struct({ version: Version })),
  error: edits
})
const deletion = <P>(params: P) => ({
  params,
  headers: conditions,
  success: HttpApiSchema.NoContent,
  error: [NotFoundProblem, ...edits] as const
})

const byName = { name: IntegrationName }
const byUser = { userId: UserId }

class CatalogGroup extends HttpApiGroup.make("catalog").add(
  HttpApiEndpoint.put("putIntegration", "/integrations/:name", put(byName, IntegrationDefinition)),
  HttpApiEndpoint.get("getIntegration", "/integrations/:name", read(byName, Integration)),
  HttpApiEndpoint.delete("deleteIntegration", "/integrations/:name", deletion(byName)),
  HttpApiEndpoint.get("listIntegrations", "/integrations", page(Integration)),
  HttpApiEndpoint.put("putConfig", "/users/:userId/config", put(byUser, Schema.Struct({ config: ConfigObject }))),
  HttpApiEndpoint.get("getConfig", "/users/:userId/config", read(byUser, Config)),
  HttpApiEndpoint.delete("deleteConfig", "/users/:userId/config", deletion(byUser)),
  HttpApiEndpoint.get("listConfigs", "/users", page(Config)),
  HttpApiEndpoint.post("sync", "/sync", {
    success: Schema.Struct({ checked: Schema.Int, changed: Schema.Int, listening: Schema.Boolean }),
    error: UnavailableProblem
  })
) {}

class RecordsGroup extends HttpApiGroup.make("records").add(
  HttpApiEndpoint.get("listRecords", "/records", {
    ...page(RecordItem),
    query: { ...paging, user: Schema.optionalKey(UserId) }
  }),
  HttpApiEndpoint.get("listDeadRecords", "/records/dead", page(DeadLetterItem)),
  HttpApiEndpoint.post("retryDeadRecord", "/records/dead/:recordId/retry", {
    params: { recordId: Schema.String },
    success: Schema.Struct({ recordId: Schema.String }),
    error: [NotFoundProblem, InvalidProblem, UnavailableProblem]
  })
) {}

export class AdminApi extends HttpApi.make("hotpath")
  .add(CatalogGroup)
  .add(RecordsGroup)
  .middleware(AdminProblems)
  .middleware(AdminAuth)
  .prefix("/admin")
  .annotate(HttpApi.PayloadParseOptions, { onExcessProperty: "error", errors: "all" })
  .annotateMerge(
    OpenApi.annotations({ title: "hotpath", description: "Editing the catalog, reading the records", version: "1" })
  ) {}
