// The token that operators and backends show: the one that is set, or one made at this start.
import { randomBytes } from "node:crypto"
import { Context, Effect, Layer, Redacted } from "effect"
import { Settings } from "../Settings.ts"

export class AdminToken extends Context.Service<
  AdminToken,
  {
    readonly token: Redacted.Redacted
    /** It was not set but made at this start, and has to be shown to the person who started the process. */
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
