// Implements the catalog part of the operators' API. An edit is checked the way a call uses it, so that every accepted
// definition works.
import { isIP } from "node:net"
import { Effect, Option, Schema } from "effect"
import type { HttpServerRequest } from "effect/http"
import { HttpApiBuilder, HttpApiSchema } from "effect/http-api"
import { makeEndpoint } from "../calls/fetch/Endpoint.ts"
import { CatalogEditor, type CatalogRow } from "../catalog/CatalogEditor.ts"
import { CatalogSync } from "../catalog/CatalogSync.ts"
import { inexactNumbers } from "../domain/ExactNumbers.ts"
import { IntegrationDefinition } from "../domain/Integration.ts"
import { isStorable } from "../domain/StorableJson.ts"
import { ConfigObject } from "../domain/UserConfig.ts"
import type { Expected, NotFound, VersionMismatch } from "../domain/Version.ts"
import { EgressPolicy } from "../infra/http/EgressPolicy.ts"
import type { DatabaseRefused, DatabaseUnavailable } from "../infra/postgres/Database.ts"
import { AdminApi, InvalidProblem, NotFoundProblem, UnavailableProblem, VersionMismatchProblem } from "./AdminApi.ts"
import { defaultLimit, fromCursor, pageOf } from "./Paging.ts"

const invalid = (field: string, reason: string) => new InvalidProblem({ field, reason, detail: `${field}: ${reason}` })

const asUnavailable = Effect.mapError(() => new UnavailableProblem())
const notFound = ({ what }: NotFound) => Effect.fail(new NotFoundProblem({ detail: `no such ${what}` }))
const mismatch = ({ version }: VersionMismatch) => Effect.fail(new VersionMismatchProblem({ version }))
const unavailable = () => Effect.fail(new UnavailableProblem())
const refused = () => Effect.fail(invalid("", "PostgreSQL refused it"))
const away = { DatabaseUnavailable: unavailable, DatabaseRefused: unavailable }

type Away = DatabaseUnavailable | DatabaseRefused
const asRead = <A>(read: Effect.Effect<A, NotFound | Away>) => Effect.catchTags(read, { ...away, NotFound: notFound })
const asEdit = <A>(edit: Effect.Effect<A, VersionMismatch | Away>) =>
  Effect.catchTags(edit, { ...away, DatabaseRefused: refused, VersionMismatch: mismatch })
const asDelete = <A>(edit: Effect.Effect<A, NotFound | VersionMismatch | Away>) =>
  Effect.catchTags(edit, { ...away, NotFound: notFound, VersionMismatch: mismatch })

const expected = (headers: {
  readonly "if-match"?: string
  readonly "if-none-match"?: string
}): Effect.Effect<Expected, InvalidProblem> => {
  const { "if-match": match, "if-none-match": noneMatch } = headers
  if (noneMatch !== undefined) {
    return noneMatch.trim() === "*"
      ? Effect.succeed("none")
      : Effect.fail(invalid("if-none-match", "only * is supported"))
  }
  if (match === undefined) return Effect.succeed(undefined)
  if (match.trim() === "*") return Effect.succeed("some")
  const version = /^\s*(?:W\/)?"?(\d{1,15})"?\s*$/.exec(match)?.[1]
  return version === undefined
    ? Effect.fail(invalid("if-match", 'expected a version, such as "3"'))
    : Effect.succeed(Number(version))
}

const tagged = <A extends { readonly version: number }>(body: A) =>
  HttpApiSchema.withHeaders({ body, headers: { etag: `"${body.version}"` } })

/** Bound of a definition or a configuration as JSON, in bytes: every call works with both. */
const maxContentBytes = 65_536

/**
 * `sent`: the request that carried the content. Only its text shows whether a number lost digits when it was parsed.
 */
const storable = <A>(field: string, content: A, sent: HttpServerRequest.HttpServerRequest) =>
  Effect.flatMap(
    Effect.orElseSucceed(sent.text, () => ""),
    (text) => {
      const [inexact] = inexactNumbers(text)
      if (inexact !== undefined) {
        const number = inexact.source.slice(0, 40)
        return Effect.fail(invalid(field, `the number ${number} has no exact IEEE 754 double: send it as a string`))
      }
      const json = JSON.stringify(content)
      const bytes = Buffer.byteLength(json)
      if (bytes > maxContentBytes) {
        return Effect.fail(invalid(field, `${bytes} bytes as JSON; the maximum is ${maxContentBytes}`))
      }
      return isStorable(content, json)
        ? Effect.succeed(content)
        : Effect.fail(invalid(field, "a string contains NUL or an unpaired surrogate"))
    }
  )

const decodeDefinition = Schema.decodeUnknownEffect(IntegrationDefinition)
const decodeConfig = Schema.decodeUnknownEffect(ConfigObject)

// JSON that is nested too deep overflows the stack.
const decoded = <A, E>(decoding: Effect.Effect<A, E>) =>
  Effect.catchDefect(decoding, () => Effect.fail("deep" as const))

// Plain SQL can write any row; a listing skips rows that do not decode.
const integration = ({ content, key, updatedAt, version }: CatalogRow) =>
  Effect.map(decoded(decodeDefinition(content)), (definition) => ({ name: key, version, updatedAt, ...definition }))
const config = ({ content, key, updatedAt, version }: CatalogRow) =>
  Effect.map(decoded(decodeConfig(content)), (found) => ({ userId: key, version, updatedAt, config: found }))

// The content is not logged: a definition may contain secrets.
const logEdit = (action: "put" | "deleted", kind: "integration" | "config", name: string, version?: number) =>
  Effect.logInfo("the catalog was changed", {
    editor: "admin API",
    action,
    kind,
    name,
    ...(version !== undefined && { version })
  })

const readable = <A, E>(rows: ReadonlyArray<CatalogRow>, show: (row: CatalogRow) => Effect.Effect<A, E>) =>
  Effect.map(
    Effect.forEach(rows, (row) => Effect.option(show(row))),
    (shown) => shown.flatMap(Option.toArray)
  )

export const layer = HttpApiBuilder.group(
  AdminApi,
  "catalog",
  Effect.fnUntraced(function* (handlers) {
    const editor = yield* CatalogEditor
    const sync = yield* CatalogSync
    const policy = yield* EgressPolicy

    const list = <A, E>(
      kind: "integration" | "config",
      query: { readonly limit?: number; readonly cursor?: string },
      show: (row: CatalogRow) => Effect.Effect<A, E>
    ) =>
      Effect.gen(function* () {
        const limit = query.limit ?? defaultLimit
        const rows = yield* asUnavailable(editor.list(kind, fromCursor(query.cursor), limit + 1))
        const { next, shown } = pageOf(rows, limit, ({ key }) => key)
        return { items: yield* readable(shown, show), next }
      })
    // A row that does not decode is not found by name, as for a call.
    const unreadable = () =>
      new NotFoundProblem({ detail: "the row was written with SQL and is invalid: PUT it again" })

    return handlers.handleAll({
      putIntegration: ({ headers, params, payload, request }) =>
        Effect.gen(function* () {
          const definition = yield* storable("", payload, request)
          yield* makeEndpoint({ name: params.name, version: 0, definition }).pipe(
            Effect.mapError(({ field, reason }) => invalid(field, reason))
          )
          // A host name is checked at each connection; an address can be checked now.
          const address = new URL(definition.url.replaceAll(/\{[^}]*\}/g, "x")).hostname.replace(/^\[(.*)\]$/, "$1")
          if (isIP(address) !== 0 && !policy.allows(address)) {
            return yield* invalid("url", "this address is denied (UPSTREAM_DENY, UPSTREAM_ALLOW)")
          }
          const version = yield* asEdit(editor.put("integration", params.name, definition, yield* expected(headers)))
          yield* logEdit("put", "integration", params.name, version)
          return tagged({ version })
        }),
      getIntegration: ({ params }) =>
        Effect.flatMap(asRead(editor.get("integration", params.name)), (row) =>
          Effect.mapBoth(integration(row), { onSuccess: tagged, onFailure: unreadable })
        ),
      deleteIntegration: ({ headers, params }) =>
        Effect.flatMap(expected(headers), (version) =>
          asDelete(editor.delete("integration", params.name, version))
        ).pipe(Effect.tap(() => logEdit("deleted", "integration", params.name))),
      listIntegrations: ({ query }) => list("integration", query, integration),
      putConfig: ({ headers, params, payload, request }) =>
        Effect.gen(function* () {
          const content = yield* storable("config", payload.config, request)
          const version = yield* asEdit(editor.put("config", params.userId, content, yield* expected(headers)))
          yield* logEdit("put", "config", params.userId, version)
          return tagged({ version })
        }),
      getConfig: ({ params }) =>
        Effect.flatMap(asRead(editor.get("config", params.userId)), (row) =>
          Effect.mapBoth(config(row), { onSuccess: tagged, onFailure: unreadable })
        ),
      deleteConfig: ({ headers, params }) =>
        Effect.flatMap(expected(headers), (version) => asDelete(editor.delete("config", params.userId, version))).pipe(
          Effect.tap(() => logEdit("deleted", "config", params.userId))
        ),
      listConfigs: ({ query }) => list("config", query, config),
      sync: () => Effect.map(asUnavailable(sync.sync), (done) => ({ ...done, listening: sync.isListening() }))
    })
  })
)
