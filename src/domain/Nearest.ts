// Finds the known name that a misspelt one was most likely meant to be.
import { distance } from "fastest-levenshtein"

/** Longer names are not compared: the cost of a comparison grows with both lengths. */
const maxLength = 64

/** The known name nearest to `name`. At most a third of its letters may differ, or two if that is more. */
export const nearest = (name: string, known: Iterable<string>): string | undefined => {
  if (name.length > maxLength) return undefined
  const wanted = name.toLowerCase()
  let best: string | undefined
  let least = Math.max(2, Math.floor(name.length / 3)) + 1
  for (const candidate of known) {
    if (Math.abs(candidate.length - name.length) >= least) continue
    const edits = distance(wanted, candidate.toLowerCase())
    if (edits < least) {
      least = edits
      best = candidate
    }
  }
  return best
}
