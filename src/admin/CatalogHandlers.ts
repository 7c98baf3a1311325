// Implements the catalog part of the operators' API. An edit is checked the way a call uses it, so that every accepted
// definition works.
import { isIP } from "node:net"
import { Effect, Option, Schema } from "effect"
import type { HttpServerRequest } from "effect/http"
import { HttpApiBuilder, HttpApiSchema } from "effect/http-api"
import { makeEndpoint } from "../calls/fetch/Endpoint.ts"
import { CatalogEditor } from "../catalog/CatalogEditor.ts"
import type { CatalogRow } from "../catalog/CatalogEntry.ts"
import { CatalogSync } from "../catalog/CatalogSync.ts"
import { inexactNumbers } from "../domain/ExactNumbers.ts"
import { IntegrationDefinition } from "../domain/Integration.ts"
import { isStorable } from "../domain/StorableJson.ts"
import { ConfigObject } from "../domain/UserConfig.ts"
import type { CatalogKind, Expected, NotFound, VersionMismatch } from "../domain/Version.ts"
import { EgressPolicy } from "../infra/http/EgressPolicy.ts"
import { AdminApi, InvalidProblem, NotFoundProblem, UnavailableProblem, VersionMismatchProblem } from "./AdminApi.ts"
import { type PageQuery, page } from "./Paging.ts"

const invalid = (field: string, reason: string) => new InvalidProblem({ field, reason, detail: `${field}: ${reason}` })

const notFound = ({ what }: NotFound) => Effect.fail(new NotFoundProblem({ detail: `no such ${what}` }))
const mismatch = ({ version }: VersionMismatch) => Effect.fail(new VersionMismatchProblem({ version }))
const unavailable = () => Effect.fail(new UnavailableProblem())
const refused = () => Effect.fail(invalid("", "PostgreSQL refused it"))
const away = { DatabaseUnavailable: unavailable, DatabaseRefused: unavailable }

interface Conditions {
  readonly "if-match"?: string
  readonly "if-none-match"?: string
}

const expected = ({
  "if-match": match,
  "if-none-match": noneMatch
}: Conditions): Effect.Effect<Expected, InvalidProblem> => {
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

/** Only the text of the request, `sent`, shows whether a number of the content lost digits when it was parsed. */
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

export const layer = HttpApiBuilder.group(
  AdminApi,
  "catalog",
  Effect.fnUntraced(function* (handlers) {
    const editor = yield* CatalogEditor
    const sync = yield* CatalogSync
    const policy = yield* EgressPolicy

    /** What can be done with the entries of one kind. */
    const entries = <A extends { readonly version: number }, E>(
      kind: CatalogKind,
      show: (row: CatalogRow) => Effect.Effect<A, E>
    ) => {
      // The content is not logged: a definition may contain secrets.
      const logEdit = (action: "put" | "deleted", name: string, more: { readonly version?: number } = {}) =>
        Effect.logInfo("the catalog was changed", { editor: "admin API", action, kind, name, ...more })
      return {
        put: Effect.fnUntraced(function* (key: string, content: unknown, headers: Conditions) {
          const version = yield* editor
            .put(kind, key, content, yield* expected(headers))
            .pipe(Effect.catchTags({ ...away, DatabaseRefused: refused, VersionMismatch: mismatch }))
          yield* logEdit("put", key, { version })
          return tagged({ version })
        }),
        get: Effect.fnUntraced(function* (key: string) {
          const row = yield* editor.get(kind, key).pipe(Effect.catchTags({ ...away, NotFound: notFound }))
          // A row that does not decode is not found by name, as for a call.
          return yield* Effect.mapBoth(show(row), {
            onSuccess: tagged,
            onFailure: () =>
              new NotFoundProblem({ detail: "the row was written with SQL and is invalid: PUT it again" })
          })
        }),
        delete: Effect.fnUntraced(function* (key: string, headers: Conditions) {
          yield* editor
            .delete(kind, key, yield* expected(headers))
            .pipe(Effect.catchTags({ ...away, NotFound: notFound, VersionMismatch: mismatch }))
          yield* logEdit("deleted", key)
        }),
        list: Effect.fnUntraced(function* (query: PageQuery) {
          const { items, next } = yield* page(
            query,
            (after, limit) => editor.list(kind, after, limit),
            ({ key }) => key
          )
          const shown = yield* Effect.forEach(items, (row) => Effect.option(show(row)))
          return { items: shown.flatMap(Option.toArray), next }
        })
      }
    }
    const integrations = entries("integration", integration)
    const configs = entries("config", config)

    return handlers.handleAll({
      putIntegration: Effect.fnUntraced(function* ({ headers, params, payload, request }) {
        const definition = yield* storable("", payload, request)
        yield* makeEndpoint({ name: params.name, version: 0, definition }).pipe(
          Effect.mapError(({ field, reason }) => invalid(field, reason))
        )
        // A host name is checked at each connection; an address can be checked now.
        const address = new URL(definition.url.replaceAll(/\{[^}]*\}/g, "x")).hostname.replace(/^\[(.*)\]$/, "$1")
        if (isIP(address) !== 0 && !policy.allows(address)) {
          return yield* invalid("url", "this address is denied (UPSTREAM_DENY, UPSTREAM_ALLOW)")
        }
        return yield* integrations.put(params.name, definition, headers)
      }),
      getIntegration: ({ params }) => integrations.get(params.name),
      deleteIntegration: ({ headers, params }) => integrations.delete(params.name, headers),
      listIntegrations: ({ query }) => integrations.list(query),
      putConfig: ({ headers, params, payload, request }) =>
        Effect.flatMap(storable("config", payload.config, request), (content) =>
          configs.put(params.userId, content, headers)
        ),
      getConfig: ({ params }) => configs.get(params.userId),
      deleteConfig: ({ headers, params }) => configs.delete(params.userId, headers),
      listConfigs: ({ query }) => configs.list(query),
      sync: () =>
        sync.sync.pipe(
          Effect.map((done) => ({ ...done, listening: sync.isListening() })),
          Effect.mapError(() => new UnavailableProblem())
        )
    })
  })
)
