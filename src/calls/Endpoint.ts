// An integration's definition, made ready once a version: how a call becomes an HTTP request, and an answer a reply.
import { Effect, JsonPointer, Result } from "effect"
import { type Integration, type IntegrationDefinition, InvalidInput } from "../domain/Integration.ts"
import type { HttpRequest } from "../infra/Http.ts"
import { compileBody } from "./BodyTemplate.ts"
import {
  compileTemplate,
  DefinitionInvalid,
  type Encoding,
  type Rendered,
  render,
  type Template,
  type Values
} from "./Template.ts"

export interface Endpoint {
  readonly integration: Integration
  /** The name of its circuit: another version is another circuit. */
  readonly circuit: string
  /** `inputText` is the input as JSON, `configText` the configuration. */
  readonly request: (
    values: Values,
    inputText: string,
    configText: string
  ) => Result.Result<Omit<HttpRequest, "timeoutMs" | "maxBytes">, InvalidInput>
  /** The reply's body from the answer's; undefined when the answer lacks what `result` points at. */
  readonly map: (answer: unknown) => unknown
}

const urlParts = /^(https?:\/\/[^/?#\s]+)((?:\/[^?#]*)?)(?:\?([^#]*))?$/
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it refuses
const unsafeInUrl = /[\u0000-\u001f\u007f\\]/

/** The definition's own text in a path, as a URL has it; what is escaped already stays as it is. */
const escapeUrl = (text: string) => encodeURI(text).replaceAll(/%25([0-9a-f]{2})/gi, "%$1")
const inUrl: Encoding = { own: escapeUrl, secret: encodeURIComponent }
const inValue: Encoding = { own: encodeURIComponent, secret: encodeURIComponent }
const inHeader: Encoding = { own: (text) => text, secret: (value) => value }

interface Field {
  readonly name: string
  readonly template: Template
}

const compileFields = (field: string, texts: Readonly<Record<string, string>>, encoding: Encoding) =>
  Effect.forEach(Object.entries(texts), ([name, text]) =>
    Effect.map(compileTemplate(`${field}.${name}`, text, encoding), (template): Field => ({ name, template }))
  )

const noPlaceholder = Effect.fnUntraced(function* (field: string, names: ReadonlyArray<string>) {
  for (const name of names) {
    if (/[{}]/.test(name)) {
      return yield* new DefinitionInvalid({ field, reason: "placeholders stand in values, not in names" })
    }
  }
})

// A header's value may hold neither line breaks nor control characters: nothing can be smuggled behind it.
const unsafeInHeader = /[^\t\x20-\x7e\x80-\xff]/

// What the connection and the body say of themselves is not for a definition to say.
const ofTheExchange = new Set(
  "connection,content-length,expect,host,keep-alive,proxy-connection,te,trailer,transfer-encoding,upgrade".split(",")
)

const compileHeaders = Effect.fnUntraced(function* (texts: Readonly<Record<string, string>>) {
  const seen = new Set<string>()
  for (const [name, text] of Object.entries(texts)) {
    const wrong = (reason: string) => new DefinitionInvalid({ field: `headers.${name}`, reason })
    if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(name)) return yield* wrong("not a header's name")
    if (ofTheExchange.has(name.toLowerCase())) return yield* wrong("this header is set by the exchange itself")
    if (seen.has(name.toLowerCase())) return yield* wrong("this header is there twice")
    seen.add(name.toLowerCase())
    if (unsafeInHeader.test(text)) return yield* wrong("a header's value holds no line breaks or control characters")
  }
  const compiled = yield* compileFields("headers", texts, inHeader)
  for (const { name, template } of compiled) {
    if (template.some((piece) => typeof piece === "string" && unsafeInHeader.test(piece))) {
      return yield* new DefinitionInvalid({ field: `headers.${name}`, reason: "the secret can't be in a header" })
    }
  }
  return compiled
})

const compilePointers = (result: Readonly<Record<string, string>>) =>
  Effect.forEach(Object.entries(result), ([name, pointer]) =>
    name !== "__proto__" && /^(\/([^~]|~[01])*)?$/.test(pointer)
      ? Effect.succeed({ name, path: pointer.split("/").slice(1).map(JsonPointer.unescapeToken) })
      : Effect.fail(
          new DefinitionInvalid({
            field: `result.${name}`,
            reason: "a JSON pointer is empty or starts with /; ~ stands in ~0 and ~1 only"
          })
        )
  )

const at = (value: unknown, path: ReadonlyArray<string>): unknown => {
  let found = value
  for (const part of path) {
    if (typeof found !== "object" || found === null || !Object.hasOwn(found, part)) return undefined
    found = (found as Readonly<Record<string, unknown>>)[part]
  }
  return found
}

const parseUrl = Effect.fnUntraced(function* (definition: IntegrationDefinition) {
  const match = urlParts.exec(definition.url)
  const origin = match?.[1]
  if (match === null || origin === undefined || origin.includes("{")) {
    return yield* new DefinitionInvalid({ field: "url", reason: "http://host/path, placeholders in the path only" })
  }
  if (unsafeInUrl.test(definition.url) || !definition.url.isWellFormed()) {
    return yield* new DefinitionInvalid({ field: "url", reason: "no control characters and no backslashes" })
  }
  if (origin.includes("@") || !URL.canParse(origin)) {
    return yield* new DefinitionInvalid({ field: "url", reason: "the host is not one" })
  }
  const segments = yield* Effect.forEach((match[2] ?? "").split("/").slice(1), (part) =>
    compileTemplate("url", part, inUrl)
  )
  const pairs = (match[3] ?? "").split("&").filter((part) => part !== "")
  yield* noPlaceholder(
    "url",
    pairs.map((pair) => pair.split("=", 1).join(""))
  )
  const query = yield* Effect.forEach(pairs, (pair) => {
    const [name = "", ...value] = pair.split("=")
    return Effect.map(
      compileTemplate("url", value.join("="), inUrl),
      (template): Field => ({ name: escapeUrl(name), template })
    )
  })
  return { origin, segments, query }
})

const bad = (reason: string) => Result.fail(new InvalidInput({ reason }))
const problem = (rendered: Exclude<Rendered, { readonly text: string }>) =>
  bad("missing" in rendered ? `${rendered.missing} is missing` : `${rendered.unusable} must be a text or a number`)

export const makeEndpoint = Effect.fnUntraced(function* (integration: Integration) {
  const { definition } = integration
  const { origin, segments, query } = yield* parseUrl(definition)
  for (const status of Object.keys(definition.errors)) {
    if (!/^[1-5]\d\d$/.test(status)) {
      return yield* new DefinitionInvalid({ field: `errors.${status}`, reason: "errors are by status, 100 to 599" })
    }
  }
  yield* noPlaceholder("query", Object.keys(definition.query))
  const own = yield* compileFields("query", definition.query, inValue)
  const fields = [...query, ...own.map(({ name, template }) => ({ name: encodeURIComponent(name), template }))]
  const headers = yield* compileHeaders(definition.headers)
  const ownBody = definition.body === undefined ? undefined : yield* compileBody("body", definition.body)
  const pointers = definition.result === undefined ? undefined : yield* compilePointers(definition.result)

  const request: Endpoint["request"] = (values, inputText, configText) => {
    let path = ""
    for (const segment of segments) {
      const rendered = render(segment, values, encodeURIComponent)
      if (!("text" in rendered)) return problem(rendered)
      // A value that makes a segment `..`, `.` or nothing would change the path's structure.
      if (segment.some((piece) => typeof piece !== "string") && /^(\.|%2e){0,2}$/i.test(rendered.text)) {
        return bad("a value can't be a path segment")
      }
      path += `/${rendered.text}`
    }
    let separator = "?"
    for (const { name, template } of fields) {
      const rendered = render(template, values, encodeURIComponent)
      // What the caller or the configuration does not say is not asked for.
      if ("missing" in rendered) continue
      if (!("text" in rendered)) return problem(rendered)
      path += `${separator}${name}=${rendered.text}`
      separator = "&"
    }
    const sent: Record<string, string> = { accept: "application/json" }
    for (const { name, template } of headers) {
      const rendered = render(template, values, (value) => value)
      if ("missing" in rendered) continue
      if (!("text" in rendered)) return problem(rendered)
      if (unsafeInHeader.test(rendered.text)) return bad(`a value can't be in the header ${name}`)
      sent[name.toLowerCase()] = rendered.text
    }
    if (definition.method === "GET") {
      return Result.succeed({ origin, path: path === "" ? "/" : path, method: "GET", headers: sent, body: undefined })
    }
    sent["content-type"] ??= "application/json"
    const body =
      ownBody === undefined ? `{"input":${inputText},"config":${configText}}` : JSON.stringify(ownBody(values))
    return Result.succeed({ origin, path: path === "" ? "/" : path, method: "POST", headers: sent, body })
  }

  const map: Endpoint["map"] = (answer) => {
    if (pointers === undefined) return answer
    const body: Record<string, unknown> = {}
    for (const { name, path } of pointers) {
      const found = at(answer, path)
      if (found === undefined) return undefined
      body[name] = found
    }
    return body
  }

  const circuit = `${integration.name}@${integration.version}`
  return { integration, circuit, request, map } satisfies Endpoint
})
