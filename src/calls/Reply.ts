// Stage 3: the reply, encoded once. The body's text serves the client and the record.

import type { Ack } from "../domain/Integration.ts"
import { EncodedJson } from "../protocol/JsonRpc.ts"

/** `bodyText` is JSON. */
export const encodeReply = (
  status: number,
  bodyText: string,
  configVersion: number,
  recordId: string,
  ack: Ack
): EncodedJson =>
  new EncodedJson(
    `{"status":${status},"body":${bodyText},"configVersion":${configVersion},"recordId":"${recordId}","ack":"${ack}"}`
  )
