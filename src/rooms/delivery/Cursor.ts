// The cursor in which a client keeps its position among a room's events: `epoch:clientSeq`, or
// `epoch~offset:clientSeq` if the offset is not 0. `none:clientSeq` can't be resumed from. The glossary in
// storage/buffer/README.md explains the numbers, with an example: seq, epoch, epoch counter, change number, client
// seq, and the offset, which is client seq minus seq.

export interface Cursor {
  readonly epoch: string
  readonly offset: number
  readonly clientSeq: number
}

export const formatCursor = ({ clientSeq, epoch, offset }: Cursor): string =>
  `${epoch}${offset === 0 ? "" : `~${offset}`}:${clientSeq}`

/** The cursor of a client that can't resume: some of what it was sent is in no stream. */
export const formatUnresumable = (clientSeq: number): string => `none:${clientSeq}`

export const parseCursor = (text: string): Cursor | undefined => {
  const [, epoch, offset, clientSeq] = /^([0-9a-z-]{1,40})(?:~(-?\d{1,15}))?:(\d{1,15})$/.exec(text) ?? []
  return epoch === undefined ? undefined : { epoch, offset: Number(offset ?? 0), clientSeq: Number(clientSeq) }
}
