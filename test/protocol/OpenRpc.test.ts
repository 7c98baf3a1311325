// The OpenRPC document as tools read it: valid, and good enough that a stock generator's types compile and read well.
import { execFile } from "node:child_process"
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { createRequire } from "node:module"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { openRpcDocument } from "../../src/protocol/OpenRpc.ts"

// Required and not imported: its types are TypeScript sources that do not pass this project's checks.
const { validateOpenRPCDocument } = createRequire(import.meta.url)("@open-rpc/schema-utils-js") as {
  readonly validateOpenRPCDocument: (document: unknown) => unknown
}
const run = promisify(execFile)
const bin = join(import.meta.dirname, "../../node_modules/.bin")

describe("the OpenRPC document", () => {
  it("is valid", () => {
    assert.strictEqual(validateOpenRPCDocument(openRpcDocument), true)
  })

  it("has required params before optional ones", () => {
    for (const { name, params } of openRpcDocument.methods) {
      const required = params.map((param) => param.required)
      assert.deepEqual(required, required.toSorted().reverse(), name)
    }
  })

  it("describes every error's data, and the events", () => {
    const { errors, schemas } = openRpcDocument.components
    for (const { name, errors: refs } of openRpcDocument.methods) {
      assert.strictEqual(new Set(refs.map(({ $ref }) => $ref)).size, refs.length, `${name} lists an error twice`)
    }
    assert.includeMembers(errors["RateLimited"]?.data["required"] as Array<string>, ["retryAfterMs"])
    assert.includeMembers(Object.keys(schemas), ["Message", "Room", "RoomEvent", "MessageSentEvent"])
  })
})

describe("types that a stock generator makes of it", () => {
  let folder: string
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "hotpath-openrpc-"))
  })
  afterAll(() => rm(folder, { recursive: true, force: true }))

  it("compile, and are named as people would", async () => {
    await writeFile(join(folder, "openrpc.json"), JSON.stringify(openRpcDocument))
    await run(process.execPath, [
      join(bin, "open-rpc-typings"),
      ...["-d", join(folder, "openrpc.json"), "--output-ts", folder, "--name-ts", "hotpath"]
    ])
    await writeFile(
      join(folder, "use.ts"),
      `import type { CallResult, Message, MessagesSend, RoomsJoin, RoomsResume, RoomsResumeResult } from "./hotpath.ts"
export const send = (send: MessagesSend, roomId: string): Promise<Message> => send(roomId, "Hello")
export const join = async (join: RoomsJoin, roomId: string): Promise<ReadonlyArray<Message>> => (await join(roomId)).messages
export const resume = async (resume: RoomsResume) => {
  const { events }: RoomsResumeResult = await resume("room", "epoch:1")
  return events.map(({ event }) => (event.type === "message.sent" ? event.message.body : event.type))
}
export const status = ({ status }: CallResult): number => status
// @ts-expect-error: a body is text
export const wrong = (send: MessagesSend) => send("room", 5)
`
    )
    const args = ["--ignoreConfig", "--noEmit", "--strict", "--allowImportingTsExtensions", join(folder, "use.ts")]
    await run(process.execPath, [join(bin, "tsc"), ...args]).catch((error: { stdout?: string }) =>
      assert.fail(String(error.stdout))
    )
  })
})
