// The parts of a definition, compiled once: JSON pointers (RFC 6901); texts with placeholders: `{input.…}` (from the
// call), `{config.…}` (from the user's configuration) and `{secret.NAME}` (from the environment); bodies, which are
// JSON with such texts; and texts for error answers. The caller of `render` encodes each value, so a value never
// changes the text around it.
import { Config, Effect, JsonPointer, Redacted, Result, Schema } from "effect"
import type { IntegrationDefinition } from "../../domain/Integration.ts"
import { nestsDeeperThan } from "../../protocol/JsonRpc.ts"
import { cut } from "./TextStream.ts"

/** A definition of an integration that can't be compiled. `field` names the part that is wrong; empty: the whole. */
export class DefinitionInvalid extends Schema.TaggedError<DefinitionInvalid>()("DefinitionInvalid", {
  field: Schema.String,
  reason: Schema.String
}) {}

export const invalid = (field: string, reason: string) => Effect.fail(new DefinitionInvalid({ field, reason }))

export const compilePointer = (field: string, pointer: string) =>
  /^(\/([^~]|~[01])*)?$/.test(pointer)
    ? Effect.succeed(pointer.split("/").slice(1).map(JsonPointer.unescapeToken))
    : invalid(field, "a JSON pointer is empty or starts with /; ~ stands in ~0 and ~1 only")

/** The value at the path, or undefined. Follows own properties only. */
export const at = (value: unknown, path: ReadonlyArray<string>): unknown => {
  let found = value
  for (const part of path) {
    if (typeof found !== "object" || found === null || !Object.hasOwn(found, part)) return undefined
    found = (found as Readonly<Record<string, unknown>>)[part]
  }
  return found
}

export interface Values {
  readonly input: unknown
  readonly config: unknown
}

/** Literal text, or the path of the value that stands here. */
type Piece = string | { readonly from: keyof Values; readonly path: ReadonlyArray<string>; readonly name: string }

export type Template = ReadonlyArray<Piece>

const compilePlaceholder = (field: string, inner: string, encode: Encoding["secret"]) => {
  const [from, ...path] = inner.split(".")
  const isPath = path.length > 0 && !path.includes("")
  if (isPath && (from === "input" || from === "config")) return Effect.succeed<Piece>({ from, path, name: inner })
  if (!isPath || from !== "secret") return invalid(field, `{${inner}} is no placeholder`)
  const name = `INTEGRATION_SECRET_${path.join(".")}`
  return Config.Redacted(name).pipe(
    Effect.mapBoth({
      onSuccess: (secret): Piece => encode(Redacted.value(secret)),
      onFailure: () => new DefinitionInvalid({ field, reason: `${name} is not set` })
    })
  )
}

/** How the definition's own text and its secrets are encoded. */
export interface Encoding {
  readonly own: (text: string) => string
  readonly secret: (value: string) => string
}
export const unencoded: Encoding = { own: (text) => text, secret: (value) => value }

export const compileTemplate = (field: string, text: string, encoding: Encoding) => {
  // Every other part is what a placeholder's braces enclose.
  const parts = text.split(/\{([^{}]*)\}/)
  return Effect.forEach(parts, (part, n): Effect.Effect<Piece, DefinitionInvalid> => {
    if (n % 2 === 1) return compilePlaceholder(field, part, encoding.secret)
    if (/[{}]/.test(part)) return invalid(field, "a brace that is not a placeholder's")
    return Effect.succeed(encoding.own(part))
  }).pipe(Effect.map((pieces): Template => pieces.filter((piece) => piece !== "")))
}

export const find = (values: Values, { from, path }: Exclude<Piece, string>): unknown => at(values[from], path)

/** The text; or the name of a placeholder whose value is missing, or is neither a text nor a number. */
export type Rendered = { readonly text: string } | { readonly missing: string } | { readonly unusable: string }

/** Applies `encode` to the values of placeholders, never to the template's own text. */
export const render = (template: Template, values: Values, encode: (value: string) => string): Rendered => {
  let text = ""
  for (const piece of template) {
    if (typeof piece === "string") text += piece
    else {
      const value = find(values, piece)
      if (value === undefined || value === null) return { missing: piece.name }
      if (typeof value === "object") return { unusable: piece.name }
      text += encode(String(value))
    }
  }
  return { text }
}

/**
 * A template for the request body. A text that is a placeholder and nothing else becomes the value itself, of any type;
 * without a value (undefined) its field (or element) is left out. In a longer text a value becomes text, and a missing
 * one the empty text. Other braces are literal, because prompts contain them.
 */
export type BodyTemplate = (values: Values) => unknown

const textOf = (value: unknown): string =>
  value === undefined || value === null ? "" : typeof value === "object" ? JSON.stringify(value) : String(value)

const placeholder = /(\{(?:input|config|secret)\.[^{}\s]+\})/

const compileText = (field: string, text: string) =>
  Effect.map(
    Effect.forEach(
      text.split(placeholder).filter((part) => part !== ""),
      (part): Effect.Effect<Template, DefinitionInvalid> =>
        placeholder.test(part) ? compileTemplate(field, part, unencoded) : Effect.succeed([part])
    ),
    (parts) => parts.flat()
  )

const inText = (template: Template): BodyTemplate => {
  const [only, ...others] = template
  if (only !== undefined && typeof only !== "string" && others.length === 0) return (values) => find(values, only)
  return (values) => template.map((piece) => (typeof piece === "string" ? piece : textOf(find(values, piece)))).join("")
}

export const compileBody = (field: string, body: Schema.Json): Effect.Effect<BodyTemplate, DefinitionInvalid> => {
  if (typeof body === "string") return Effect.map(compileText(field, body), inText)
  if (typeof body !== "object" || body === null) return Effect.succeed(() => body)
  if (Array.isArray(body)) {
    return Effect.map(
      Effect.forEach(body as ReadonlyArray<Schema.Json>, (one, n) => compileBody(`${field}.${n}`, one)),
      (parts) => (values) => parts.map((part) => part(values)).filter((value) => value !== undefined)
    )
  }
  return Effect.map(
    Effect.forEach(Object.entries(body as Readonly<Record<string, Schema.Json>>), ([name, one]) =>
      Effect.map(compileBody(`${field}.${name}`, one), (part) => [name, part] as const)
    ),
    (parts) => (values) =>
      Object.fromEntries(
        parts.flatMap(([name, part]) => {
          const value = part(values)
          return value === undefined ? [] : [[name, value]]
        })
      )
  )
}

/** Characters of a text that holds parts of an answer. */
const maxText = 500

/**
 * The text that a client gets for an error answer: the definition's text for the status, in which `{/pointer}` is
 * replaced by a text of the answer. Answers are not trusted: only texts are taken, cut, and without control characters.
 * Undefined: the definition has no text for the status, or the answer lacks a text it points at.
 */
export type ErrorTexts = (status: number, answer: string, maxDepth: number) => string | undefined

type Part = string | { readonly path: ReadonlyArray<string> }
type Text = string | ReadonlyArray<Part>

const pointed = /(\{\/[^{}]*\})/

// Control characters, and those that reorder text. Tabs and line breaks become blanks before.
const unwanted = /[\p{Cc}\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/gu
const clean = (text: string) => text.toWellFormed().replaceAll(/\s+/g, " ").replaceAll(unwanted, "").trim()

const compileError = Effect.fnUntraced(function* (
  status: string,
  text: string
): Effect.fn.Return<Text, DefinitionInvalid> {
  const field = `errors.${status}`
  if (!/^[1-5]\d\d$/.test(status)) return yield* invalid(field, "errors are by status, 100 to 599")
  const parts = text.split(pointed).filter((part) => part !== "")
  if (!parts.some((part) => pointed.test(part))) return text
  const compiled: Array<Part> = []
  for (const part of parts) {
    compiled.push(pointed.test(part) ? { path: yield* compilePointer(field, part.slice(1, -1)) } : part)
  }
  return compiled
})

export const compileErrors = Effect.fnUntraced(function* (errors: IntegrationDefinition["errors"]) {
  const texts = new Map<string, Text>()
  for (const [status, text] of Object.entries(errors)) texts.set(status, yield* compileError(status, text))

  const errorText: ErrorTexts = (status, answer, maxDepth) => {
    const text = texts.get(String(status))
    if (text === undefined || typeof text === "string") return text
    if (nestsDeeperThan(answer, maxDepth)) return undefined
    const parsed = Result.try(() => JSON.parse(answer) as unknown)
    if (Result.isFailure(parsed)) return undefined
    const found = text.map((part) => (typeof part === "string" ? part : at(parsed.success, part.path)))
    if (!found.every((part) => typeof part === "string")) return undefined
    // Cut first, so that a megabyte is not cleaned.
    const made = clean(cut(found.map((part) => cut(part, maxText * 4)).join(""), maxText * 4))
    return made === "" ? undefined : cut(made, maxText)
  }
  return errorText
})
