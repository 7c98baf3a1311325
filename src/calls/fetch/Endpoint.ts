// An integration's definition, compiled once a version: makes HTTP requests of calls, and replies of answers.
import { Effect, Result } from "effect"
import { type Integration, type IntegrationDefinition, InvalidInput } from "../../domain/Integration.ts"
import type { HttpRequest } from "../../infra/http/Http.ts"
import {
  at,
  compileBody,
  compileErrors,
  compilePointer,
  compileTemplate,
  type Encoding,
  type ErrorTexts,
  find,
  invalid,
  type Rendered,
  render,
  type Template,
  unencoded,
  type Values
} from "./Template.ts"

export type Sent = Omit<HttpRequest, "timeoutMs" | "maxBytes">

export interface Endpoint {
  readonly integration: Integration
  /** The name of its circuit; each version has its own. */
  readonly circuit: string
  /** `inputText` and `configText`: the input and the configuration as JSON. */
  readonly request: (values: Values, inputText: string, configText: string) => Result.Result<Sent, InvalidInput>
  /** Makes the reply's body of the answer's; undefined when the answer lacks what `result` points at. */
  readonly map: (answer: unknown) => unknown
  /** The text for the client of an error answer. */
  readonly errorText: ErrorTexts
}

/** Characters of a definition as JSON, and its placeholders. */
const [maxDefinition, maxPlaceholders] = [65_536, 200]
/** Characters of a request's path with its query, of its headers together, and of its body. */
const [maxPath, maxHeaders, maxBody] = [65_536, 65_536, 1_048_576]

const urlParts = /^(https?:\/\/[^/?#\s]+)((?:\/[^?#]*)?)(?:\?([^#]*))?$/
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it refuses
const unsafeInUrl = /[\u0000-\u001f\u007f\\]/

/** Escapes the definition's own text for a URL. What is escaped already stays as it is. */
const escapeUrl = (text: string) => encodeURI(text).replaceAll(/%25([0-9a-f]{2})/gi, "%$1")
const inUrl: Encoding = { own: escapeUrl, secret: encodeURIComponent }
const inValue: Encoding = { own: encodeURIComponent, secret: encodeURIComponent }

interface Field {
  readonly name: string
  readonly template: Template
}

const compileFields = (field: string, texts: Readonly<Record<string, string>>, encoding: Encoding) =>
  Effect.forEach(Object.entries(texts), ([name, text]) =>
    Effect.map(compileTemplate(`${field}.${name}`, text, encoding), (template): Field => ({ name, template }))
  )

const noPlaceholder = (field: string, names: ReadonlyArray<string>) =>
  names.some((name) => /[{}]/.test(name)) ? invalid(field, "placeholders stand in values, not in names") : Effect.void

// Line breaks and control characters in a header's value would allow to smuggle headers.
const unsafeInHeader = /[^\t\x20-\x7e\x80-\xff]/

// Headers about the connection and the body are set by the exchange.
const reservedHeaders = new Set(
  "connection,content-length,expect,host,keep-alive,proxy-connection,te,trailer,transfer-encoding,upgrade".split(",")
)

const compileHeaders = Effect.fnUntraced(function* (texts: Readonly<Record<string, string>>) {
  const seen = new Set<string>()
  for (const [name, text] of Object.entries(texts)) {
    const wrong = (reason: string) => invalid(`headers.${name}`, reason)
    if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(name)) return yield* wrong("not a header's name")
    if (reservedHeaders.has(name.toLowerCase())) return yield* wrong("this header is set by the exchange itself")
    if (seen.has(name.toLowerCase())) return yield* wrong("this header occurs twice")
    seen.add(name.toLowerCase())
    if (unsafeInHeader.test(text)) return yield* wrong("a header's value holds no line breaks or control characters")
  }
  const compiled = yield* compileFields("headers", texts, unencoded)
  for (const { name, template } of compiled) {
    if (template.some((piece) => typeof piece === "string" && unsafeInHeader.test(piece))) {
      return yield* invalid(`headers.${name}`, "the secret can't be in a header")
    }
  }
  return compiled
})

const compilePointers = (result: Readonly<Record<string, string>>) =>
  Effect.forEach(Object.entries(result), ([name, pointer]) =>
    name === "__proto__"
      ? invalid("result.__proto__", "not a name of a result")
      : Effect.map(compilePointer(`result.${name}`, pointer), (path) => ({ name, path }))
  )

/** Checked before anything is compiled: 100,000 placeholders took seconds for each call. */
const checkSize = (definition: IntegrationDefinition) => {
  const text = JSON.stringify(definition)
  if (text.length > maxDefinition) return invalid("", `it has more than ${maxDefinition} characters as JSON`)
  const placeholders = text.match(/\{(?:input|config|secret)\./g)?.length ?? 0
  return placeholders > maxPlaceholders ? invalid("", `it has more than ${maxPlaceholders} placeholders`) : Effect.void
}

const parseUrl = Effect.fnUntraced(function* (definition: IntegrationDefinition) {
  const match = urlParts.exec(definition.url)
  const origin = match?.[1]
  if (match === null || origin === undefined || origin.includes("{")) {
    return yield* invalid("url", "http://host/path, placeholders in the path only")
  }
  if (unsafeInUrl.test(definition.url) || !definition.url.isWellFormed()) {
    return yield* invalid("url", "no control characters and no backslashes")
  }
  if (origin.includes("@") || !URL.canParse(origin)) {
    return yield* invalid("url", "the host is not valid")
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
/** `name`: of a placeholder, such as `input.city`. A value of the configuration has no path in the params. */
const badValue = (name: string, reason: string) =>
  Result.fail(new InvalidInput({ reason: `${name} ${reason}`, path: /^input\b/.test(name) ? name.split(".") : [] }))
const problem = (rendered: Exclude<Rendered, { readonly text: string }>) =>
  "missing" in rendered
    ? badValue(rendered.missing, "is missing")
    : badValue(rendered.unusable, "must be a text or a number")

const tooLarge = (what: string, limit: number) => bad(`the request's ${what} would have more than ${limit} characters`)

/** Upstreams that decode before they route take `%2F` for a slash, so `..` behind it walks up. */
const unsafeInPath = (allowsSlashes: boolean) =>
  allowsSlashes
    ? (value: string) => value.split(/[/\\]/).some((part) => part === "." || part === "..")
    : (value: string) => /[/\\]/.test(value) || value === "." || value === ".."

export const makeEndpoint = Effect.fnUntraced(function* (integration: Integration) {
  const { definition } = integration
  yield* checkSize(definition)
  const { origin, segments, query } = yield* parseUrl(definition)
  const errorText = yield* compileErrors(definition.errors)
  yield* noPlaceholder("query", Object.keys(definition.query))
  const own = yield* compileFields("query", definition.query, inValue)
  const fields = [...query, ...own.map(({ name, template }) => ({ name: encodeURIComponent(name), template }))]
  const headers = yield* compileHeaders(definition.headers)
  const ownBody = definition.body === undefined ? undefined : yield* compileBody("body", definition.body)
  const pointers = definition.result === undefined ? undefined : yield* compilePointers(definition.result)

  const isUnsafeInPath = unsafeInPath(definition.slashesInPath === true)

  const request: Endpoint["request"] = (values, inputText, configText) => {
    let path = segments.length === 0 ? "/" : ""
    for (const segment of segments) {
      const rendered = render(segment, values, encodeURIComponent)
      if (!("text" in rendered)) return problem(rendered)
      const placeholders = segment.filter((piece) => typeof piece !== "string")
      if (placeholders.length > 0) {
        // A value that makes a segment empty, `.` or `..` would change the path's structure.
        const isStructure = /^(\.|%2e){0,2}$/i.test(rendered.text)
        for (const piece of placeholders) {
          if (!isStructure && !isUnsafeInPath(String(find(values, piece)))) continue
          return badValue(piece.name, "stands in a path: it can't hold / or \\, nor be empty, . or ..")
        }
      }
      path += `/${rendered.text}`
    }
    let separator = "?"
    for (const { name, template } of fields) {
      const rendered = render(template, values, encodeURIComponent)
      // A parameter without a value is left out.
      if ("missing" in rendered) continue
      if (!("text" in rendered)) return problem(rendered)
      path += `${separator}${name}=${rendered.text}`
      separator = "&"
    }
    if (path.length > maxPath) return tooLarge("path and query", maxPath)
    const sent: Record<string, string> = { accept: "application/json" }
    let headersLength = 0
    for (const { name, template } of headers) {
      const rendered = render(template, values, (value) => value)
      if ("missing" in rendered) continue
      if (!("text" in rendered)) return problem(rendered)
      if (unsafeInHeader.test(rendered.text)) return bad(`a value can't be in the header ${name}`)
      headersLength += name.length + rendered.text.length
      sent[name.toLowerCase()] = rendered.text
    }
    if (headersLength > maxHeaders) return tooLarge("headers", maxHeaders)
    if (definition.method === "GET") {
      return Result.succeed({ origin, path, method: "GET", headers: sent, body: undefined })
    }
    sent["content-type"] ??= "application/json"
    const body =
      ownBody === undefined ? `{"input":${inputText},"config":${configText}}` : JSON.stringify(ownBody(values))
    // Checked after rendering, because each placeholder may stand for the whole input.
    if (ownBody !== undefined && body.length > maxBody) return tooLarge("body", maxBody)
    return Result.succeed({ origin, path, method: "POST", headers: sent, body })
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
  return { integration, circuit, request, map, errorText } satisfies Endpoint
})
