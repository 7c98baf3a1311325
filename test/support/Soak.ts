// `scripts/test --soak` runs everything: what takes minutes runs in full only then. Otherwise a short run of it, from a seed
// that is printed, stands in.
export const isSoak = process.env["HOTPATH_SOAK"] === "1"

/** So many rounds of what is repeated: `short` of them, or in a soak run `long`. */
export const rounds = (short: number, long: number): number => (isSoak ? long : short)

/** For tests and suites that only a soak run has: otherwise they are not there, which is no skipped test. */
export const soakOnly = (register: () => void): void => {
  if (isSoak) register()
}
