// Decodes a method's params and reports all that is wrong with them at once, in words for the client's author. Unknown
// params are refused: otherwise a misspelt optional one would be ignored silently.
import { Result, Schema, SchemaIssue } from "effect"
import { nearest } from "../domain/Nearest.ts"
import type { ProtocolError } from "./ErrorCodes.ts"

/** One fault: its path in the params, and what is accepted there. */
export interface ParamsIssue {
  readonly path: ReadonlyArray<string | number>
  readonly message: string
}

export type ParamsDecoder = (params: object) => Result.Result<unknown, ProtocolError>

/** Issues in one error. A frame full of misspelt names would make thousands. */
const maxIssues = 20
/** Characters that an error repeats of a name that the client sent. */
const maxShown = 64

/** What every request may have besides its method's params. */
const reserved = "_meta"

const shown = (name: string) => JSON.stringify(name.length > maxShown ? `${name.slice(0, maxShown)}…` : name)

/** From "Expected string | null" to "must be a string or null". */
const inWords = (message: string): string => {
  const expected = /^Expected ([\s\S]*)$/.exec(message)?.[1]
  if (expected === undefined) return message
  const words = expected
    .split(" | ")
    .map((part) => articles.get(part) ?? part.replace(/^a value (between|with)/, "$1"))
    .join(" or ")
  return words.startsWith("with") ? `must be a value ${words}` : `must be ${words}`
}
const articles: ReadonlyMap<string, string> = new Map([
  ["string", "a string"],
  ["number", "a number"],
  ["boolean", "true or false"],
  ["object", "an object"],
  ["array", "an array"]
])

const format = SchemaIssue.makeFormatterStandardSchemaV1({
  leafHook: (issue) =>
    issue._tag === "MissingKey"
      ? "is required"
      : issue._tag === "UnexpectedKey"
        ? "is not known here"
        : SchemaIssue.defaultLeafHook(issue)
})

const pathOf = (path: ReadonlyArray<unknown> | undefined): ParamsIssue["path"] =>
  (path ?? []).map((part) => (typeof part === "number" ? part : String(part)))

/** The error that lists these issues. Its message repeats them for people who do not read `data`. */
export const invalidParams = (issues: ReadonlyArray<ParamsIssue>): ProtocolError => ({
  _tag: "InvalidParams",
  message: `Invalid params: ${issues
    .map(({ message, path }) => (path.length === 0 ? message : `${path.join(".")} ${message}`))
    .join("; ")}`,
  fields: { issues }
})

/**
 * Compiled once per method. Names are compared here and not by the schema, whose search for excess properties costs a
 * valid request 1.4 µs; a look into a set of names costs nothing measurable. After a failed decode a second one finds
 * all issues.
 */
export const makeParamsDecoder = (params: Schema.Struct<Schema.Struct.Fields>): ParamsDecoder => {
  const schema = params as unknown as Schema.Codec<unknown, unknown>
  const decode = Schema.decodeUnknownResult(schema)
  const decodeAll = Schema.decodeUnknownResult(schema, { errors: "all" })
  const names = Object.keys(params.fields)
  const known = new Set([...names, reserved])
  const takes = names.length === 0 ? "the method takes no params" : `the method takes ${names.join(", ")}`

  const unknownIssues = (given: object): ReadonlyArray<ParamsIssue> => {
    const found: Array<ParamsIssue> = []
    for (const name in given) {
      if (known.has(name)) continue
      const meant = nearest(name, names)
      const hint = meant === undefined ? takes : `did you mean ${shown(meant)}?`
      found.push({ path: [name.slice(0, maxShown)], message: `is no param of this method: ${hint}` })
      // A frame can hold thousands.
      if (found.length === maxIssues) break
    }
    return found
  }

  const explain = (given: object) => {
    const all = decodeAll(given)
    const issues = Result.isFailure(all)
      ? format(all.failure.issue).issues.map(({ message, path }) => ({ path: pathOf(path), message: inWords(message) }))
      : []
    return Result.fail(invalidParams([...unknownIssues(given), ...issues].slice(0, maxIssues)))
  }

  return (given) => {
    for (const name in given) if (!known.has(name)) return explain(given)
    const decoded = decode(given)
    return Result.isSuccess(decoded) ? Result.succeed(decoded.success) : explain(given)
  }
}
