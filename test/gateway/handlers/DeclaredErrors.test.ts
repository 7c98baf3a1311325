// What the methods declare to fail with is what their handlers can fail with: the first half by type, so that this file does
// not compile otherwise; and it is what `rpc.discover` says.
import type { Effect } from "effect"
import { assert, describe, it } from "vitest"
import type { makeHandlers } from "../../../src/gateway/handlers/Handlers.ts"
import { ErrorCodes } from "../../../src/protocol/ErrorCodes.ts"
import { commonErrors, type MethodName, Methods } from "../../../src/protocol/methods/Methods.ts"
import { openRpcDocument } from "../../../src/protocol/OpenRpc.ts"

type Made = Effect.Success<typeof makeHandlers>
type Fails<M extends MethodName> = Effect.Error<ReturnType<Made[M]>>["_tag"]
type Declares<M extends MethodName> = InstanceType<(typeof Methods)[M]["errors"][number]>["_tag"]
/** What every method declares. */
type Common = "InvalidInput" | "RateLimited" | "ReplyTooLarge" | "Overloaded" | "Draining"

/** `METHOD: ERROR` for each that a handler gives and its method does not declare. */
type Undeclared = {
  [M in MethodName]: Exclude<Fails<M>, Declares<M> | Common> extends infer Tag extends string ? `${M}: ${Tag}` : never
}[MethodName]
/** `METHOD: ERROR` for each that a method declares and its handler can't give. */
type Impossible = {
  [M in MethodName]: Exclude<Declares<M>, Fails<M>> extends infer Tag extends string ? `${M}: ${Tag}` : never
}[MethodName]

describe("the errors that methods declare", () => {
  it("are those of their handlers", () => {
    // The compiler's error names the method and the error.
    const isDeclared: [Undeclared] extends [never] ? true : Undeclared = true
    const isPossible: [Impossible] extends [never] ? true : Impossible = true
    assert.isTrue(isDeclared && isPossible)
  })

  it("are those of rpc.discover, and have a code", () => {
    const described = new Map(openRpcDocument.methods.map(({ errors, name }) => [name, errors]))
    for (const [name, { errors }] of Object.entries(Methods)) {
      const types = errors.map(({ identifier }) => identifier)
      for (const type of types) assert.property(ErrorCodes, type)
      const expected = new Set([...types, ...commonErrors])
      assert.sameMembers(
        (described.get(name) ?? []).map(({ $ref }) => $ref.replace("#/components/errors/", "")),
        [...expected],
        name
      )
    }
    const bufferFull = Object.entries(Methods).flatMap(([name, { errors }]) =>
      errors.some(({ identifier }) => identifier === "BufferFull") ? [name] : []
    )
    assert.sameMembers(bufferFull, ["messages.send", "document.update", "assistant.generate"])
  })
})
