// Texts with placeholders: `{input.…}` and `{config.…}` (what the call and the user's configuration say) and
// `{secret.NAME}` (the environment). A value only ever fills the place it stands in: whoever renders encodes it.
import { Config, Effect, Redacted, Schema } from "effect"

/** A definition that can't be made into requests. */
export class DefinitionInvalid extends Schema.TaggedError<DefinitionInvalid>()("DefinitionInvalid", {
  field: Schema.String,
  reason: Schema.String
}) {}

export interface Values {
  readonly input: unknown
  readonly config: unknown
}

/** A piece: text as it is, or where its value is found. */
type Piece = string | { readonly from: keyof Values; readonly path: ReadonlyArray<string>; readonly name: string }

export type Template = ReadonlyArray<Piece>

const placeholder = /\{([^{}]*)\}/g

const readSecret = (field: string, name: string) =>
  Config.Redacted(`INTEGRATION_SECRET_${name}`).pipe(
    Effect.map(Redacted.value),
    Effect.mapError(() => new DefinitionInvalid({ field, reason: `INTEGRATION_SECRET_${name} is not set` }))
  )

const compilePlaceholder = Effect.fnUntraced(function* (field: string, inner: string) {
  const [from = "", ...path] = inner.split(".")
  if (path.length === 0 || path.some((part) => part === "")) {
    return yield* new DefinitionInvalid({ field, reason: `{${inner}} is no placeholder` })
  }
  if (from === "secret") return yield* readSecret(field, path.join("."))
  if (from !== "input" && from !== "config") {
    return yield* new DefinitionInvalid({ field, reason: `{${inner}} is no placeholder` })
  }
  return { from, path, name: inner } as const
})

/** How the definition's own text, and its secrets, are written where the template stands. */
export interface Encoding {
  readonly own: (text: string) => string
  readonly secret: (value: string) => string
}

export const compileTemplate = Effect.fnUntraced(function* (field: string, text: string, encoding: Encoding) {
  const pieces: Array<Piece> = []
  const own = Effect.fnUntraced(function* (part: string) {
    if (/[{}]/.test(part)) return yield* new DefinitionInvalid({ field, reason: "a brace that is not a placeholder's" })
    if (part !== "") pieces.push(encoding.own(part))
  })
  let end = 0
  for (const match of text.matchAll(placeholder)) {
    yield* own(text.slice(end, match.index))
    const piece = yield* compilePlaceholder(field, match[1] ?? "")
    pieces.push(typeof piece === "string" ? encoding.secret(piece) : piece)
    end = match.index + match[0].length
  }
  yield* own(text.slice(end))
  return pieces as Template
})

export const find = (values: Values, { from, path }: Exclude<Piece, string>): unknown => {
  let value: unknown = values[from]
  for (const part of path) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, part)) return undefined
    value = (value as Readonly<Record<string, unknown>>)[part]
  }
  return value
}

/** The rendered text; or the placeholder that has no value (`missing`), or one that is no text (`unusable`). */
export type Rendered = { readonly text: string } | { readonly missing: string } | { readonly unusable: string }

/** `encode` is applied to placeholders' values, never to the template's own text. */
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
