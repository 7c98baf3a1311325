// Where a client is in a room's events, as it is given out: `epoch:seq`, or `epoch~offset:seq`.

export interface Cursor {
  readonly epoch: string
  /** By how much the client's numbers are above the bus's. */
  readonly offset: number
  readonly seq: number
}

export const parseCursor = (text: string): Cursor | undefined => {
  const [, epoch, offset, seq] = /^([0-9a-z-]{1,40})(?:~(-?\d{1,15}))?:(\d{1,15})$/.exec(text) ?? []
  return epoch === undefined ? undefined : { epoch, offset: Number(offset ?? 0), seq: Number(seq) }
}
