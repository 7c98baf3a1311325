// The text that a client gets for an integration's error answer: the definition's text for the status, in which
// `{/pointer}` is replaced by a text of the answer. Answers are not trusted: only texts are taken, cut, and without
// control characters.
import { Effect, Result } from "effect"
import type { IntegrationDefinition } from "../../domain/Integration.ts"
import { nestsDeeperThan } from "../../protocol/JsonRpc.ts"
import { at, compilePointer, type DefinitionInvalid, invalid } from "./Template.ts"
import { cut } from "./TextStream.ts"

/** Characters of a text that holds parts of an answer. */
const maxText = 500

/** Undefined: the definition has no text for the status, or the answer lacks a text it points at. */
export type ErrorTexts = (status: number, answer: string, maxDepth: number) => string | undefined

type Part = string | { readonly path: ReadonlyArray<string> }
type Text = string | ReadonlyArray<Part>

const pointed = /(\{\/[^{}]*\})/

// Control characters, and those that reorder text. Tabs and line breaks become blanks before.
const unwanted = /[\p{Cc}\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/gu
const clean = (text: string) => text.toWellFormed().replaceAll(/\s+/g, " ").replaceAll(unwanted, "").trim()

const compile = Effect.fnUntraced(function* (status: string, text: string): Effect.fn.Return<Text, DefinitionInvalid> {
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
  for (const [status, text] of Object.entries(errors)) texts.set(status, yield* compile(status, text))

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
