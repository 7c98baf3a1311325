// Members under load who keep what was acknowledged: chatters, and editors of the room's document.
import type { Ledger } from "./Ledger.ts"
import { wait } from "./RoomCluster.ts"

export interface Written {
  readonly roomId: string
  readonly ledgers: ReadonlyArray<Ledger>
  readonly bodies: Set<string>
  /** By version: the text that was acknowledged for it. */
  readonly texts: Map<number, string>
  /** Texts of which nobody said whether they were kept. */
  readonly unsure: Set<string>
  readonly violations: Array<string>
}

export const written = (roomId: string, ledgers: ReadonlyArray<Ledger>): Written => ({
  roomId,
  ledgers,
  bodies: new Set(),
  texts: new Map(),
  unsure: new Set(),
  violations: []
})

export const chat = async (ledger: Ledger, { bodies }: Written, isOver: () => boolean) => {
  for (let n = 0; !isOver(); n++) {
    const body = `${ledger.user}-${n}`
    await ledger.send(body)
    bodies.add(body)
    await wait(4)
  }
}

/** Replaces the text again and again, from the version that it was told of last. */
export const edit = async (ledger: Ledger, { roomId, texts, unsure, violations }: Written, isOver: () => boolean) => {
  let base = 0
  const acknowledged = (version: number, text: string) => {
    const before = texts.get(version)
    if (before !== undefined && before !== text) violations.push(`${version} is ${before} and ${text}`)
    if (version < base) violations.push(`${ledger.user} was at ${base} and is at ${version}`)
    texts.set(version, text)
    base = version
  }
  for (let n = 0; !isOver(); n++) {
    const text = `${ledger.user} ${n} ${"x".repeat(n % 50)}`
    const answer = ledger.isIn
      ? await ledger.request("document.update", { roomId, baseVersion: base, text })
      : await wait(20).then(() => undefined)
    if (answer?.result !== undefined) acknowledged(answer.result.version, text)
    else {
      unsure.add(text)
      const get = await ledger.request("document.get", { roomId })
      const { text: there, version } = get?.result ?? { version: base }
      if (version < base) violations.push(`${ledger.user} was at ${base} and reads ${version}`)
      const known = texts.get(version)
      if (there !== undefined && known !== undefined && known !== there) violations.push(`${version} reads ${there}`)
      base = Math.max(base, version)
    }
    await wait(4)
  }
}

/**
 * What this member was told of the document: version by version, none left out, each as it was acknowledged. Who began
 * anew may be told again of versions that the state has: it is read after its cursor. Up to there none is left out.
 */
export const misheard = (ledger: Ledger, { texts }: Written): ReadonlyArray<string> => {
  const wrong: Array<string> = []
  const states = [...ledger.states]
  let last = 0
  let isNew = false
  for (const [n, { event }] of ledger.events.entries()) {
    for (; states[0] !== undefined && states[0].after <= n; isNew = true) last = states.shift()?.version ?? 0
    if (event.type !== "document.updated" || event.version === undefined) continue
    const { text, version } = event
    const isNext = version === last + 1 || (isNew && version <= last)
    if (!isNext) wrong.push(`${ledger.user} was told ${version} after ${last}`)
    isNew = false
    const known = texts.get(version)
    if (text !== undefined && known !== undefined && text !== known) wrong.push(`${version} told as ${text}`)
    last = version
  }
  return wrong
}
