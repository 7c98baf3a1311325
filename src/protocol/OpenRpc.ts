// The OpenRPC document (https://spec.open-rpc.org), generated from the schemas that decode the frames.
import { Schema } from "effect"
import { ErrorCodes, type ErrorType } from "./ErrorCodes.ts"
import { JsonSchemas, pascal } from "./JsonSchemas.ts"
import { commonErrors, Methods, Notifications, protocolVersion } from "./methods/Methods.ts"

/** The `data` of an error: the fields that all errors have, and its own. */
const errorData = (type: ErrorType): Schema.Struct<Schema.Struct.Fields> =>
  Schema.Struct({
    type: Schema.Literal(type),
    retryable: Schema.Boolean,
    traceId: Schema.String,
    ...ErrorCodes[type].fields
  })

const describe = () => {
  const schemas = new JsonSchemas()
  const methods = Object.entries(Methods).map(([name, method]) => ({
    name,
    summary: method.summary,
    paramStructure: "by-name",
    params: schemas.params(method.params, pascal(name)),
    result: { name: `${pascal(name)}Result`, schema: schemas.of(method.result, `${pascal(name)}Result`) },
    errors: [...new Set([...method.errors.map(({ identifier }) => identifier), ...commonErrors])].map((type) => ({
      $ref: `#/components/errors/${type}`
    }))
  }))
  const notifications = Object.entries(Notifications).map(([name, notification]) => ({
    name,
    summary: notification.summary,
    params: schemas.params(notification.params, pascal(name))
  }))
  const errors = Object.fromEntries(
    Object.entries(ErrorCodes).map(([name, { code, meaning }]) => {
      const type = name as ErrorType
      return [type, { code, message: `${type}: ${meaning}`, data: schemas.of(errorData(type), `${type}Data`) }]
    })
  )
  return {
    openrpc: "1.3.2",
    info: {
      title: "hotpath",
      version: "0.1.0",
      description: `JSON-RPC 2.0 over WebSocket, text frames, params by name (${protocolVersion}).`
    },
    methods,
    "x-notifications": notifications,
    components: { schemas: schemas.components, errors }
  }
}

export const openRpcDocument = describe()
/** Encoded once: 67 kB, which take longer than all else that is done for a small request. */
export const openRpcText = JSON.stringify(openRpcDocument)
