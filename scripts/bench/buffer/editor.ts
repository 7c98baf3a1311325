// One session: a user with a room, who edits its document. An edit is sent when it is due and the previous one was answered.

import { machineMs } from "../lib/machine-clock.ts"
import { patiently } from "../lib/patiently.ts"
import { dialects } from "../rooms/dialects.ts"
import { Member } from "../rooms/member.ts"

const filler = "All that was written here stays as it is, except for what stands at the end. ".repeat(14).slice(0, 1000)

const hotpath = () => {
  const { hotpath: dialect } = dialects
  if (dialect === undefined) throw new Error("no dialect of hotpath's")
  return dialect
}

export interface Watcher {
  /** Called when an edit is acknowledged, with the times at which it was due and sent. */
  readonly acknowledged: (due: number, sent: number) => void
  readonly conflict: () => void
  readonly refused: (kind: string) => void
}

interface Refusal {
  readonly data?: { readonly type?: string; readonly version?: number }
  readonly message?: string
}

export class Editor {
  readonly #member: Member
  readonly #roomId: string
  readonly #watcher: Watcher
  readonly #due: Array<number> = []
  #version = 0
  #edits = 0
  #isWaiting = false

  private constructor(member: Member, roomId: string, watcher: Watcher) {
    this.#member = member
    this.#roomId = roomId
    this.#watcher = watcher
  }

  static async open(url: URL, user: string, lost: (reason: string) => void, watcher: Watcher): Promise<Editor> {
    const member = await Member.connect(url, user, hotpath(), { event: () => {}, lost })
    const { roomId } = (await patiently(() => member.call("rooms.create", { title: "bench" }))) as {
      readonly roomId: string
    }
    await patiently(() => member.call("rooms.join", { roomId }))
    return new Editor(member, roomId, watcher)
  }

  get isIdle(): boolean {
    return !this.#isWaiting
  }

  due(at: number): void {
    this.#due.push(at)
    if (!this.#isWaiting) this.#next()
  }

  /** Drops due edits that were not sent; returns their number. */
  forget(): number {
    return this.#due.splice(0).length
  }

  #next() {
    const due = this.#due.shift()
    this.#isWaiting = due !== undefined
    if (due === undefined) return
    this.#send(due, machineMs(), `${filler} ${this.#edits++}`)
  }

  #send(due: number, sent: number, text: string) {
    const params = { roomId: this.#roomId, baseVersion: this.#version, text }
    this.#member.request("document.update", params, (reply) => {
      const error = reply.error as Refusal | undefined
      if (error === undefined) {
        this.#version = (reply.result as { readonly version: number }).version
        this.#watcher.acknowledged(due, sent)
      } else if (error.data?.type === "VersionConflict" && error.data.version !== undefined) {
        this.#version = error.data.version
        this.#watcher.conflict()
        return this.#send(due, sent, text)
      } else this.#watcher.refused(error.data?.type ?? error.message ?? "an error")
      this.#next()
    })
  }
}
