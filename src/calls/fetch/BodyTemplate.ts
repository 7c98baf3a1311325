// A definition's template for the request body: JSON whose texts may hold placeholders. A text that is a placeholder
// and nothing else becomes the value itself, of any type; without a value its field (or element) is left out. In a
// longer text a value becomes text, and a missing one the empty text. Other braces are literal, because prompts
// contain them.
import { Effect, type Schema } from "effect"
import type { DefinitionInvalid } from "./DefinitionInvalid.ts"
import { compileTemplate, find, type Template, type Values } from "./Template.ts"

type Json = Schema.Json
/** Undefined: the field is left out. */
export type BodyTemplate = (values: Values) => unknown

const unencoded = { own: (text: string) => text, secret: (value: string) => value }

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

export const compileBody = (field: string, body: Json): Effect.Effect<BodyTemplate, DefinitionInvalid> => {
  if (typeof body === "string") return Effect.map(compileText(field, body), inText)
  if (typeof body !== "object" || body === null) return Effect.succeed(() => body)
  if (Array.isArray(body)) {
    return Effect.map(
      Effect.forEach(body as ReadonlyArray<Json>, (one, n) => compileBody(`${field}.${n}`, one)),
      (parts) => (values) => parts.map((part) => part(values)).filter((value) => value !== undefined)
    )
  }
  return Effect.map(
    Effect.forEach(Object.entries(body as Readonly<Record<string, Json>>), ([name, one]) =>
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
