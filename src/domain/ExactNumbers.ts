// Numbers in JSON that a double changes: integers beyond 2^53 that it can't hold, and numbers that overflow to infinity
// or underflow to 0. `JSON.parse` changes them silently, so they are searched for in the text. Decimals, which every
// reader rounds to the nearest double, and -0 are not meant.

/** Most texts have no match and are not searched further. Strings may match, too. */
const suspicious = /[:,[\s]-?\d(?:[\d.]{15}|[\d.]*[eE])/

/** Longer numbers are refused: PostgreSQL would store every digit. */
const maxLength = 400

const [quote, backslash, comma, minus, plus, dot] = [34, 92, 44, 45, 43, 46]

const isDigit = (char: number) => char >= 48 && char <= 57
const isOfNumber = (char: number) =>
  isDigit(char) || char === minus || char === plus || char === dot || char === 101 || char === 69

export interface InexactNumber {
  /** As written in the text, and its position there. */
  readonly source: string
  readonly at: number
  /** The element of the outermost array that it is in (0 if the text is not an array). */
  readonly element: number
}

const isExact = (source: string): boolean => {
  if (source.length > maxLength) return false
  const value = Number(source)
  if (!Number.isFinite(value)) return false
  // If the double is written as it was read, no reader sees a change, though the double is only near the number.
  if (/^-?\d+$/.test(source)) {
    return Number.isSafeInteger(value) || String(value) === source || BigInt(source) === BigInt(value)
  }
  return value !== 0 || /^-?[0.]+(?:[eE]|$)/.test(source)
}

/**
 * Where the string that begins at `from` ends; the end of the text if it does not. The engine's own search skips
 * strings twice as fast as looking at each of their characters.
 */
export const endOfString = (text: string, from: number): number => {
  let end = text.indexOf('"', from + 1)
  while (end !== -1) {
    let slashes = 0
    while (text.charCodeAt(end - 1 - slashes) === backslash) slashes++
    if (slashes % 2 === 0) return end
    end = text.indexOf('"', end + 1)
  }
  return text.length
}

/** `text` is valid JSON. `firstOnly` finds only the first of each element, enough to refuse it: each costs 2 µs. */
export const inexactNumbers = (text: string, firstOnly = false): ReadonlyArray<InexactNumber> => {
  const first = text.charCodeAt(0)
  if (!(isDigit(first) || first === minus || suspicious.test(text))) return []
  const found: Array<InexactNumber> = []
  let depth = 0
  let element = 0
  for (let at = 0; at < text.length; at++) {
    const char = text.charCodeAt(at)
    if (char === quote) at = endOfString(text, at)
    else if (char === 91 || char === 123) depth++
    else if (char === 93 || char === 125) depth--
    else if (char === comma && depth === 1) element++
    else if (isDigit(char) || char === minus) {
      let end = at + 1
      let [isInteger, hasExponent] = [true, false]
      for (let next = text.charCodeAt(end); isOfNumber(next); next = text.charCodeAt(++end)) {
        if (next === dot) isInteger = false
        else if (next === 101 || next === 69) hasExponent = true
      }
      // Short integers, and decimals without an exponent, are skipped: most numbers are such.
      const isEnough = firstOnly && found.at(-1)?.element === element
      if (!isEnough && (hasExponent || end - at > (isInteger ? 15 : maxLength))) {
        const source = text.slice(at, end)
        if (!isExact(source)) found.push({ source, at, element })
      }
      at = end - 1
    }
  }
  return found
}

/** An integer that is only too large for a double, such as a 64-bit id. */
export const isBigInteger = ({ source }: InexactNumber): boolean => source.length <= maxLength && /^-?\d+$/.test(source)

/**
 * The text with those numbers as strings that begin with NUL. No storable text has such a string, so `unmark` finds
 * them again in what is made of the parsed value.
 */
export const mark = (text: string, numbers: ReadonlyArray<InexactNumber>): string => {
  let marked = ""
  let end = 0
  for (const { at, source } of numbers) {
    marked += `${text.slice(end, at)}"\\u0000${source}"`
    end = at + source.length
  }
  return marked + text.slice(end)
}

export const unmark = (text: string): string => text.replaceAll(/"\\u0000(-?\d+)"/g, "$1")

// Node has it since 21; TypeScript's library for ES2024 does not.
const { rawJSON } = JSON as unknown as { readonly rawJSON: (text: string) => unknown }

/** The parsed value, with those numbers as `JSON.stringify` writes them unchanged. */
export const withExactNumbers = (text: string): unknown => {
  const numbers = inexactNumbers(text)
  if (numbers.length === 0) return JSON.parse(text)
  const revive = (_key: string, value: unknown) =>
    typeof value === "string" && value.startsWith("\0") ? rawJSON(value.slice(1)) : value
  return JSON.parse(mark(text, numbers), revive)
}
