// What the benchmark can be told on its command line.
import { parseArgs } from "node:util"

export interface Options {
  /** Shorter rounds and fewer connections: about a third of the time. */
  readonly quick: boolean
  /** The peer on both sides: what differs then is noise. */
  readonly self: boolean
  /** hotpath exports its traces and metrics (to a collector that swallows them), sampling as by default. */
  readonly traced: boolean
  readonly rounds: number
}

/** Fails with what is wrong, for a person to read. */
export const readOptions = (names: ReadonlyArray<string>): Options & { readonly name: string } => {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: {
      quick: { type: "boolean" },
      self: { type: "boolean" },
      traced: { type: "boolean" },
      rounds: { type: "string" }
    }
  })
  const { quick = false, self = false, traced = false } = values
  const rounds = Number(values.rounds ?? (quick ? 2 : 5))
  if (!Number.isInteger(rounds) || rounds < 1) throw new Error(`--rounds=${values.rounds} is not a count`)
  const [name = "call", ...more] = positionals
  if (!names.includes(name) || more.length > 0) throw new Error(`no benchmark is named ${positionals.join(" ")}`)
  return { name, quick, rounds, self, traced }
}
