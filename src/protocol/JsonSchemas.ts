// The schemas of the protocol as JSON Schema, for the OpenRPC document. A named schema is written once, in
// `components`. Every schema has a title, because code generators name their types by it.
import { Record, Schema, SchemaAST } from "effect"

export type Json = { readonly [key: string]: unknown }

export const pascal = (name: string): string =>
  name.replace(/(^|[^A-Za-z0-9]+)([A-Za-z0-9])/g, (_all, _between, letter: string) => letter.toUpperCase())

/** Titles of schemas that are only a type. */
const plainTitles: Readonly<{ [type: string]: string }> = {
  string: "Text",
  integer: "Whole",
  number: "Decimal",
  boolean: "Flag",
  null: "Nothing"
}

/** The short title of a param is left to the variant that may not be null. */
const paramTitles = (name: string, owner: string, { ast }: Schema.Constraint): ReadonlyArray<string> => {
  const isNullable = SchemaAST.isUnion(ast) && ast.types.some((member) => SchemaAST.isNull(member))
  const title = `${pascal(name)}${isNullable ? "OrNull" : ""}`
  return [title, `${owner}${title}`]
}

const isObject = (value: unknown): value is Json => typeof value === "object" && value !== null && !Array.isArray(value)

/** Collects the named schemas, and gives titles so that different schemas have different ones. */
export class JsonSchemas {
  readonly components: { [name: string]: Json } = {}
  readonly #titles = new Map<string, string>()

  /** The schema as JSON Schema. Without a name of its own, its title is the first of `names` that is free. */
  of(schema: Schema.Constraint, ...names: ReadonlyArray<string>): Json {
    const document = Schema.toJsonSchemaDocument(schema as Schema.Top, { onExcessProperty: "ignore" })
    for (const [key, definition] of Object.entries(document.definitions)) {
      this.components[key] ??= this.#titled(definition, [key])
    }
    return this.#titled(document.schema, names)
  }

  /**
   * The schema of a method's or notification's params, one by one. Required ones come first, because generators make
   * positional parameters of them.
   */
  params(struct: Schema.Struct<Schema.Struct.Fields>, owner: string) {
    return Object.entries(struct.fields)
      .map(([name, schema]) => ({
        name,
        required: !SchemaAST.isOptional(schema.ast),
        schema: this.of(schema, ...paramTitles(name, owner, schema))
      }))
      .sort((one, other) => Number(other.required) - Number(one.required))
  }

  #titled(schema: Json, names: ReadonlyArray<string>): Json {
    const { $ref } = schema
    // Effect's form of an object without fields.
    if ("not" in schema) return this.#titled({ type: "object", properties: {} }, names)
    if (typeof $ref === "string") return { $ref: $ref.replace(/^#\/\$defs\//, "#/components/schemas/") }
    const own = names.at(-1) ?? ""
    const within = Object.entries(schema).map(([key, value]) => [key, this.#inside(key, value, own)])
    return { title: this.#title(schema, names), ...Object.fromEntries(within) }
  }

  #inside(key: string, value: unknown, name: string): unknown {
    if (key === "properties" && isObject(value)) {
      const titled = (schema: unknown, property: string) => this.#titled(schema as Json, [name + pascal(property)])
      return Record.map(value, titled)
    }
    if (isObject(value) && (key === "items" || key === "additionalProperties"))
      return this.#titled(value, [`${name}Item`])
    if (Array.isArray(value) && (key === "anyOf" || key === "oneOf" || key === "allOf")) {
      return value.map((schema: Json, index) => {
        const names = index === 0 ? [name.replace(/OrNull$/, ""), `${name}Option`] : [`${name}Option${index + 1}`]
        return this.#titled(schema, names)
      })
    }
    return value
  }

  #title(schema: Json, names: ReadonlyArray<string>): string {
    const { type } = schema
    const content = JSON.stringify(schema)
    const isPlain = Object.keys(schema).length === 1 && typeof type === "string"
    const plain = isPlain ? plainTitles[type] : content === "{}" ? "AnyJson" : undefined
    const wanted = plain === undefined ? names : [plain]
    const last = wanted.at(-1) ?? ""
    for (let n = 0; ; n++) {
      const title = wanted[n] ?? `${last}${n - wanted.length + 2}`
      if ((this.#titles.get(title) ?? content) !== content) continue
      this.#titles.set(title, content)
      return title
    }
  }
}
