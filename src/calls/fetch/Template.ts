// Texts with placeholders: `{input.…}` (from the call), `{config.…}` (from the user's configuration) and
// `{secret.NAME}` (from the environment). The caller of `render` encodes each value, so a value never changes the
// text around it.
import { Config, Effect, Redacted } from "effect"
import { DefinitionInvalid } from "./DefinitionInvalid.ts"
import { at } from "./Pointer.ts"

export interface Values {
  readonly input: unknown
  readonly config: unknown
}

/** Literal text, or the path of the value that stands here. */
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

/** How the definition's own text and its secrets are encoded. */
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
