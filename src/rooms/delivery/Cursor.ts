// The numbers of a room's events, and the cursor in which a client keeps its position among them. Other files refer
// to this one.
//
// - Change number: counts the room's committed changes in Postgres, without a gap. Ephemeral events and writes that
//   only the write buffer has carry 0.
// - Seq: counts the room's events on the bus, without a gap, within an epoch.
// - Epoch: the name of one numbering. The bus starts another when a seq could come a second time for another event
//   (Redis was restarted or lost its data), and when the epoch counter grows. Positions of different epochs can't be
//   compared.
// - Epoch counter: the room's, in Postgres. An instance advances it before it delivers an event that the bus does not
//   have.
// - Client seq: counts what a client is sent, without a gap, across epochs. The offset is client seq minus seq.
// - Cursor: `epoch:clientSeq`, or `epoch~offset:clientSeq` if the offset is not 0. `none:clientSeq` can't be resumed
//   from.
//
// Example, one client of one room:
//
// 1. It joins. The bus is at epoch `a`, seq 7; the room's change number is 3. Its cursor is `a:7`.
// 2. The bus brings seq 8 (change 4). The client is sent event 8; its cursor is `a:8`.
// 3. Redis is away. Change 5 and a piece of generated text (no change) are delivered locally as events 9 and 10. The
//    epoch counter was advanced first, so `a` has ended; the cursor is `none:10`.
// 4. Redis is back with epoch `b` and seq 9 (change 5). Its change number says that it was delivered: it is skipped.
//    Bus and client now stand at 9 and 10, so the offset is 1 and the cursor `b~1:10`.
// 5. The client reconnects with `b~1:10`. It is sent the bus's events after seq 9 (10 - 1), numbered from 11.

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
