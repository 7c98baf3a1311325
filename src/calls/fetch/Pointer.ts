// JSON pointers (RFC 6901) of a definition, compiled once, and following a compiled path.
import { Effect, JsonPointer } from "effect"
import { DefinitionInvalid } from "./DefinitionInvalid.ts"

export const compilePointer = (field: string, pointer: string) =>
  /^(\/([^~]|~[01])*)?$/.test(pointer)
    ? Effect.succeed(pointer.split("/").slice(1).map(JsonPointer.unescapeToken))
    : Effect.fail(
        new DefinitionInvalid({ field, reason: "a JSON pointer is empty or starts with /; ~ stands in ~0 and ~1 only" })
      )

/** The value at the path, or undefined. Follows own properties only. */
export const at = (value: unknown, path: ReadonlyArray<string>): unknown => {
  let found = value
  for (const part of path) {
    if (typeof found !== "object" || found === null || !Object.hasOwn(found, part)) return undefined
    found = (found as Readonly<Record<string, unknown>>)[part]
  }
  return found
}
