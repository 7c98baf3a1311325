// The command-line options of the benchmarks.
import { parseArgs } from "node:util"

export interface Options {
  /** Shorter rounds and fewer connections: about a third of the time. */
  readonly quick: boolean
  /** The peer on both sides: any difference is noise. */
  readonly self: boolean
  /** hotpath exports traces and metrics (to a collector that discards them), with default sampling. */
  readonly traced: boolean
  /** The folder of another checkout of hotpath: measured instead of the peer. */
  readonly beside: string | undefined
  readonly rounds: number
  /** For `buffer`: sessions, seconds of a measured round, edits/s (undefined: the highest sustained rate is searched for). */
  readonly sessions: number | undefined
  readonly seconds: number | undefined
  readonly rate: number | undefined
}

const countOf = (name: string, text: string | undefined) => {
  if (text === undefined) return undefined
  const count = Number(text)
  if (!Number.isInteger(count) || count < 1) throw new Error(`--${name}=${text} is not a count`)
  return count
}

/** Throws an error with a readable message if the options are invalid. */
export const readOptions = (names: ReadonlyArray<string>): Options & { readonly name: string } => {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: {
      quick: { type: "boolean" },
      self: { type: "boolean" },
      beside: { type: "string" },
      traced: { type: "boolean" },
      rounds: { type: "string" },
      sessions: { type: "string" },
      seconds: { type: "string" },
      rate: { type: "string" }
    }
  })
  const { quick = false, self = false, traced = false } = values
  const rounds = countOf("rounds", values.rounds) ?? (quick ? 2 : 5)
  const sessions = countOf("sessions", values.sessions)
  const seconds = countOf("seconds", values.seconds)
  const rate = countOf("rate", values.rate)
  const [name = "call", ...more] = positionals
  if (!names.includes(name) || more.length > 0) throw new Error(`no benchmark is named ${positionals.join(" ")}`)
  return { name, quick, rounds, self, beside: values.beside, traced, sessions, seconds, rate }
}
