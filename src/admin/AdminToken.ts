// The token of operators and backends: ADMIN_TOKEN, or one generated at start.
import { randomBytes } from "node:crypto"
import { Context, Effect, Layer, Redacted } from "effect"
import { Settings } from "../Settings.ts"

export class AdminToken extends Context.Service<
  AdminToken,
  {
    readonly token: Redacted.Redacted
    /** Generated at start: the person who started the process has to be shown it. */
    readonly isMade: boolean
  }
>()("hotpath/admin/AdminToken") {
  static readonly layer = Layer.effect(
    AdminToken,
    Effect.map(Settings, ({ ADMIN_TOKEN }) =>
      AdminToken.of({
        token: ADMIN_TOKEN ?? Redacted.make(randomBytes(24).toString("base64url")),
        isMade: ADMIN_TOKEN === undefined
      })
    )
  )
}
