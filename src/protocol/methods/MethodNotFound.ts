// The error for an unknown method, with the name that was most likely meant.
import { nearest } from "../../domain/Nearest.ts"
import type { ProtocolError } from "../ErrorCodes.ts"
import { Methods } from "./Methods.ts"

/** Characters that an error repeats of a method's name. */
const maxShownName = 64

export const methodNotFound = (method: string): ProtocolError => {
  const meant = nearest(method, Object.keys(Methods))
  const name = method.length > maxShownName ? `${method.slice(0, maxShownName)}…` : method
  return {
    _tag: "MethodNotFound",
    message: `No method named ${JSON.stringify(name)}${
      meant === undefined ? ": rpc.discover lists them" : `: did you mean ${meant}?`
    }`,
    fields: { method: name, ...(meant !== undefined && { nearest: meant }) }
  }
}
