// Text of limited length, whose error states the limits in words.
import { Schema } from "effect"

/** A string of `minimum` to `maximum` UTF-16 units. */
export const textBetween = (minimum: number, maximum: number) => {
  const expected = `text of ${minimum} to ${maximum} characters`
  return Schema.String.check(Schema.isMinLength(minimum, { expected }), Schema.isMaxLength(maximum, { expected }))
}
