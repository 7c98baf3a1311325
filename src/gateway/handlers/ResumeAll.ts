// `rooms.resumeAll`: many rooms in one reply, each with what `rooms.resume` returns or with its error.
import { Effect, Result } from "effect"
import { RequestContext } from "../../observability/RequestContext.ts"
import { EncodedJson, errorObject } from "../../protocol/JsonRpc.ts"
import type { Result as MethodResult, Params } from "../../protocol/methods/Methods.ts"
import { type Guest, Subscriptions } from "../../rooms/Subscriptions.ts"
import { Settings } from "../../Settings.ts"
import { errorReply } from "./ErrorReply.ts"

/** Of a reply, besides what the rooms return: the envelope, and for each room its id or error. */
const overhead = 65_536

export const makeResumeAll = Effect.gen(function* () {
  const subscriptions = yield* Subscriptions
  const { MAX_OUTBOUND_BYTES } = yield* Settings
  return Effect.fnUntraced(function* (guest: Guest, places: Params<"rooms.resumeAll">["rooms"]) {
    const request = yield* RequestContext
    const results = yield* subscriptions.resumeAll(guest, places, MAX_OUTBOUND_BYTES - overhead)
    const rooms = results.map((result, n) => {
      const roomId = places[n]?.roomId ?? ""
      if (Result.isSuccess(result)) return `{"roomId":${JSON.stringify(roomId)},${result.success.text.slice(1)}`
      const { fields, message, type } = errorReply(result.failure, { roomId })
      return JSON.stringify({ roomId, error: errorObject(type, message, request?.traceId ?? "", fields) })
    })
    return new EncodedJson<MethodResult<"rooms.resumeAll">>(`{"rooms":[${rooms.join(",")}]}`)
  })
})
