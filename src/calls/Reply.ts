// Stage 3: the reply, encoded once. The body's text serves the client and the record.

import type { Schema } from "effect"
import type { Ack } from "../domain/Integration.ts"
import { EncodedJson } from "../protocol/JsonRpc.ts"

export interface CallReply {
  readonly status: number
  readonly body: Schema.Json
  readonly configVersion: number
  readonly recordId: string
  /** What held when the reply left. */
  readonly ack: Ack
}

/** `bodyText` is JSON. */
export const encodeReply = (
  status: number,
  bodyText: string,
  configVersion: number,
  recordId: string,
  ack: Ack
): EncodedJson<CallReply> =>
  new EncodedJson(
    `{"status":${status},"body":${bodyText},"configVersion":${configVersion},"recordId":"${recordId}","ack":"${ack}"}`
  )
