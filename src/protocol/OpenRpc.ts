// The OpenRPC document (https://spec.open-rpc.org), generated from the schemas that decode the frames.
import { Schema } from "effect"
import { ErrorCodes, type ErrorType } from "./ErrorCodes.ts"
import { commonErrors, Methods, Notifications, protocolVersion } from "./Methods.ts"

const jsonSchema = (schema: Schema.Constraint) =>
  Schema.toJsonSchemaDocument(schema as Schema.Top, { onExcessProperty: "ignore" }).schema as {
    readonly properties?: Readonly<Record<string, unknown>>
    readonly required?: ReadonlyArray<string>
  }

const params = (schema: Schema.Constraint) => {
  const { properties = {}, required = [] } = jsonSchema(schema)
  return Object.entries(properties).map(([name, property]) => ({
    name,
    required: required.includes(name),
    schema: property
  }))
}

const error = (type: ErrorType) => ({ code: ErrorCodes[type].code, message: `${type}: ${ErrorCodes[type].meaning}` })

export const openRpcDocument = {
  openrpc: "1.3.2",
  info: {
    title: "hotpath",
    version: "0.1.0",
    description: `JSON-RPC 2.0 over WebSocket, text frames, params by name (${protocolVersion}).`
  },
  methods: Object.entries(Methods).map(([name, method]) => ({
    name,
    summary: method.summary,
    paramStructure: "by-name",
    params: params(method.params),
    result: { name: "result", schema: jsonSchema(method.result) },
    errors: [...method.errors, ...commonErrors].map(error)
  })),
  "x-notifications": Object.entries(Notifications).map(([name, notification]) => ({
    name,
    summary: notification.summary,
    params: params(notification.params)
  }))
}
