// Checks deliveries: each member must receive each message once, and the messages of one sender in the order of sending. A body
// names its sender and its number.

export interface Faults {
  /** Received twice, or after a later message of the same sender. */
  readonly repeated: number
  /** Not received when a later message of the same sender was: late or lost. */
  readonly skipped: number
  /** Not received by the end of a round, and no later one either. */
  readonly missing: number
  /** The room's numbers did not grow by one for a member. */
  readonly unordered: number
}

export interface Sighting {
  readonly sender: number
  readonly number: number
}

const bodySize = 100
const senderDigits = 2
const numberDigits = 7
const bodyMark = '"body":"'
const seqMark = '"seq":'

const integerAt = (text: string, from: number): number => {
  let value = 0
  for (let at = from; ; at++) {
    const digit = text.charCodeAt(at) - 48
    // The character code behind the end of a text is NaN.
    if (!(digit >= 0 && digit <= 9)) return value
    value = value * 10 + digit
  }
}

export const bodyOf = ({ number, sender }: Sighting): string => {
  const own = `${String(sender).padStart(senderDigits, "0")} ${String(number).padStart(numberDigits, "0")} `
  return own + "as long as what people write ".repeat(4).slice(0, bodySize - own.length)
}

export class Ledger {
  readonly #members: number
  readonly #senders: number
  /** The next expected message, by member and sender. */
  readonly #next: Int32Array
  /** The number of sent messages, by sender. */
  readonly #sent: Int32Array
  /** The last number of the room, by member. */
  readonly #seq: Int32Array
  #repeated = 0
  #skipped = 0
  #missing = 0
  #unordered = 0

  constructor(members: number, senders: number) {
    this.#members = members
    this.#senders = senders
    this.#next = new Int32Array(members * senders)
    this.#sent = new Int32Array(senders)
    this.#seq = new Int32Array(members).fill(-1)
  }

  /** Records an event of the room; returns the message's number if it is a message. */
  see(member: number, event: string): Sighting | undefined {
    const mark = event.indexOf(seqMark)
    const seq = mark === -1 ? -1 : integerAt(event, mark + seqMark.length)
    const last = this.#seq[member] ?? -1
    // The first event sets the member's start.
    if (seq === -1 || (last !== -1 && seq !== last + 1)) this.#unordered++
    this.#seq[member] = seq
    const body = event.indexOf(bodyMark)
    if (body === -1) return undefined
    const sender = integerAt(event, body + bodyMark.length)
    const number = integerAt(event, body + bodyMark.length + senderDigits + 1)
    const place = member * this.#senders + sender
    const next = this.#next[place] ?? 0
    if (number < next) this.#repeated++
    else {
      this.#skipped += number - next
      this.#next[place] = number + 1
    }
    return { sender, number }
  }

  /** Ends a round in which the senders sent this many: messages not received are missing. */
  settle(sent: ReadonlyArray<number>): void {
    for (let sender = 0; sender < this.#senders; sender++) {
      const total = (this.#sent[sender] ?? 0) + (sent[sender] ?? 0)
      this.#sent[sender] = total
      for (let member = 0; member < this.#members; member++) {
        const place = member * this.#senders + sender
        this.#missing += Math.max(0, total - (this.#next[place] ?? 0))
        this.#next[place] = total
      }
    }
  }

  get faults(): Faults {
    return {
      repeated: this.#repeated,
      skipped: this.#skipped,
      missing: this.#missing,
      unordered: this.#unordered
    }
  }
}
