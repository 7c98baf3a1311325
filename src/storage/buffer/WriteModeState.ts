// Who may write: the modes of one instance, as a state machine without effects. WriteMode.ts feeds it events and
// performs its actions.
//
// No instance may change a document directly in Postgres while another one acknowledges changes in the write buffer. So
// an instance that uses the buffer has a lease in Postgres (WriterLeases.ts), which it renews every second, and
// Postgres refuses direct changes while any lease lasts. All instances that use the buffer at a time share a lease
// number. A lease that begins when no instance has one gets a new number: documents may have been written directly
// before. So everything that waits in the buffer is flushed first, and each document is compared with Postgres before
// its next use.
//
// | mode      | meaning |
// | --------- | ------- |
// | Postgres  | The first mode. No lease; all that was acknowledged here is in Postgres. Writes go there. |
// | Acquiring | The buffer answers. A lease is asked for, or what waits from before it is flushed. |
// | Redis     | The buffer acknowledges writes, until `until`. Unconfirmed: Postgres did not renew the lease. |
// | Leaving   | The buffer is away. Copies of acknowledged writes are saved, then the lease is released. |
// | Draining  | The last mode. The instance shuts down. |
//
// | from             | to        | when |
// | ---------------- | --------- | ---- |
// | Postgres         | Acquiring | The buffer answers. |
// | Leaving          | Acquiring | The same. |
// | Acquiring        | Redis     | Postgres grants a lease whose number is known here, or all that waited is flushed. |
// | Redis            | Redis     | The lease is renewed. Or denied: it is unconfirmed, until `returnUntil`. |
// | Acquiring        | Redis     | Postgres is away, and was so before the lease of an earlier Redis mode ran out. |
// | Redis            | Acquiring | The lease has another number, so it ran out. |
// | Redis            | Acquiring | Redis is another incarnation: restarted, or emptied. First the copies are saved. |
// | Acquiring        | Acquiring | A lease is granted; instances that may be cut off get `rejoinMs` to come back. |
// | Redis, Acquiring | Leaving   | The buffer is away. Or the lease is denied, and none may be used unconfirmed. |
// | Acquiring        | Leaving   | The copies could not be saved, or what waited could not be flushed. |
// | Leaving          | Postgres  | The copies are saved and the lease is released. |
// | all              | Draining  | The instance shuts down. |
//
// A lease is denied when Postgres is away, or when not all instances have seen this incarnation of Redis. In Redis mode
// a suspected buffer (it did not answer a request) is not used until the next probe: `until` has passed.
//
// An instance without a lease can't go on without Postgres: others may have bypassed the buffer since it had one. An
// instance that has one can: after Postgres is back, direct changes wait until it had the time to renew its lease. They
// do so only if Postgres was away for so long that all have noticed (`contactGapMs`): before that is certain, a lease
// counts no longer than it was granted.
// (Where one instance reaches only the buffer and another only Postgres, both go on. Of one version acknowledged by
// both, the one in Postgres stays.)
import type { WriteModeTimings } from "./WriteModeTimings.ts"
import type { WriterLease } from "./WriterLeases.ts"

export interface Lease {
  readonly number: number
  /** Whether Postgres said so lately. */
  readonly isConfirmed: boolean
}

/** What Acquiring and Leaving know of the last lease. */
interface LastLease {
  /** Its number. While Postgres grants this number, nothing was written directly since. */
  readonly known: number | undefined
  /** Until when this instance may use it unconfirmed: before that, no other one can have bypassed the buffer. */
  readonly returnUntil: number
  /** Whether all that this instance acknowledged is in Postgres. */
  readonly isSaved: boolean
}

export type Mode =
  | { readonly _tag: "Postgres"; readonly known: number | undefined }
  | ({ readonly _tag: "Acquiring" } & LastLease)
  | { readonly _tag: "Redis"; readonly lease: Lease; readonly until: number; readonly returnUntil: number }
  | ({ readonly _tag: "Leaving" } & LastLease)
  | { readonly _tag: "Draining" }

/** Times are of one monotonic clock, in milliseconds. */
export interface State {
  readonly mode: Mode
  /** When the last probe ended; -Infinity when the buffer is suspected since. */
  readonly probedAt: number
  /** Whether all other instances have left the buffer since this one did, at `leftAt`. */
  readonly areOthersGone: boolean
  readonly leftAt: number
  /** When Postgres answered last, and since when it has done so without a gap. */
  readonly contactAt: number
  readonly contactSince: number
  /** Since when Postgres was asked and did not answer; Infinity: it has answered. */
  readonly deniedSince: number
  /** Until when the last lease that Postgres granted counts here. */
  readonly grantedUntil: number
}

const never = Number.NEGATIVE_INFINITY

export const initial: State = {
  mode: { _tag: "Postgres", known: undefined },
  probedAt: never,
  areOthersGone: true,
  leftAt: 0,
  contactAt: never,
  contactSince: Number.POSITIVE_INFINITY,
  deniedSince: Number.POSITIVE_INFINITY,
  grantedUntil: never
}

/** What Postgres said of a lease that was asked for at `askedAt`. */
export interface Granted {
  readonly lease: WriterLease
  readonly askedAt: number
}

/**
 * What is to be done next. A probe begins with `Probe`; each action but Flush and Drain
 * ends in an event, until one gives no action.
 */
export type Action =
  | { readonly _tag: "Probe" }
  /** Ask for the lease, or renew it. */
  | { readonly _tag: "Lease"; readonly afterMs: number }
  /** Bring copies of acknowledged writes to Postgres, because another incarnation of Redis may have lost them. */
  | { readonly _tag: "Rescue" }
  /** Flush what waited in the buffer when the lease began. */
  | { readonly _tag: "Prepare"; readonly granted: Granted }
  /** Flush everything beside the probe: Postgres is back. */
  | { readonly _tag: "Flush" }
  | { readonly _tag: "Save" }
  | { readonly _tag: "Release" }
  | { readonly _tag: "CheckOthers" }
  | { readonly _tag: "Drain" }

export type Event =
  | { readonly _tag: "ProbeDue" }
  | { readonly _tag: "BufferAway" }
  | { readonly _tag: "BufferReached"; readonly isNewIncarnation: boolean }
  | { readonly _tag: "Rescued" }
  | { readonly _tag: "LeaseGranted"; readonly granted: Granted }
  /** Postgres is away, or other instances have not seen this incarnation of Redis. */
  | { readonly _tag: "LeaseDenied"; readonly askedAt: number }
  | { readonly _tag: "Prepared"; readonly granted: Granted }
  | { readonly _tag: "Saved" }
  | { readonly _tag: "Released" }
  | { readonly _tag: "OthersChecked"; readonly areLeased: boolean }
  /** Rescue, Prepare, Save, Release or CheckOthers did not succeed. */
  | { readonly _tag: "Failed" }
  | { readonly _tag: "ProbeEnded" }
  /** The buffer did not answer a request, or was reconnected: it is probed before its next use. */
  | { readonly _tag: "Suspected" }
  | { readonly _tag: "ShutDown" }

const ask: Action = { _tag: "Lease", afterMs: 0 }
/** How soon a lease is asked for again that may still have to wait for others. */
const againMs = 100

interface Step {
  readonly state: State
  readonly action?: Action | undefined
}

/** The lease under which the buffer acknowledges writes now. */
export const leaseAt = ({ mode }: State, now: number): Lease | undefined =>
  mode._tag === "Redis" && now < mode.until ? mode.lease : undefined

/** Whether the lease is denied, and not used until all must have noticed that Postgres is away: within a moment. */
export const isPaused = ({ mode }: State, now: number): boolean =>
  mode._tag === "Redis" && !mode.lease.isConfirmed && now >= mode.until

/** The number of the lease since whose beginning no instance can have read or written around the buffer. */
export const numberInUse = ({ mode }: State, now: number): number | undefined => {
  if (mode._tag === "Redis") return now <= mode.returnUntil ? mode.lease.number : undefined
  return mode._tag === "Acquiring" && !mode.isSaved && now <= mode.returnUntil ? mode.known : undefined
}

/**
 * Whether what the buffer took under the lease may be acknowledged: no instance can have read or written around the
 * buffer since, and the copy that is made now is among those that will be saved when the buffer is left.
 */
export const isLeased = (state: State, { number }: Lease, now: number): boolean => numberInUse(state, now) === number

/** Whether all that this instance acknowledged is in Postgres: only then it reads and writes there. */
export const isSaved = ({ mode }: State): boolean =>
  mode._tag === "Postgres" || ((mode._tag === "Acquiring" || mode._tag === "Leaving") && mode.isSaved)

/** Whether the others have left the buffer, or had the time to since this instance did. */
export const areOthersGone = (state: State, { ttlMs }: WriteModeTimings, now: number): boolean =>
  state.areOthersGone || now > state.leftAt + ttlMs

/** Whether Postgres has answered for so long that instances that went on without it have renewed their leases. */
export const mayBypass = (state: State, { contactGapMs, steadyMs }: WriteModeTimings, now: number): boolean =>
  now - state.contactAt <= contactGapMs && now - state.contactSince >= steadyMs

const lastLease = (mode: Exclude<Mode, { readonly _tag: "Draining" }>): LastLease => {
  switch (mode._tag) {
    case "Acquiring":
    case "Leaving":
      return mode
    case "Redis":
      return { known: mode.lease.number, returnUntil: mode.returnUntil, isSaved: false }
    case "Postgres":
      return { known: mode.known, returnUntil: never, isSaved: true }
  }
}

/** Events that are answers of Postgres. */
const contacts: ReadonlySet<Event["_tag"]> = new Set(["LeaseGranted", "Released", "OthersChecked"])

const contacted = (state: State, { contactGapMs }: WriteModeTimings, now: number): State => ({
  ...state,
  contactAt: now,
  contactSince: now - state.contactAt > contactGapMs ? now : state.contactSince,
  deniedSince: Number.POSITIVE_INFINITY
})

/** What is known of Postgres after the event. */
const withContact = (state: State, event: Event, timings: WriteModeTimings, now: number): State => {
  if (contacts.has(event._tag)) return contacted(state, timings, now)
  return event._tag === "LeaseDenied" ? { ...state, deniedSince: Math.min(state.deniedSince, event.askedAt) } : state
}

/** An event that does not belong to the mode changes nothing: a shutdown came before it. */
export const step = (timings: WriteModeTimings, before: State, event: Event, now: number): Step => {
  const state = withContact(before, event, timings, now)
  const { mode } = state
  const stay: Step = { state }
  if (mode._tag === "Draining") return stay
  const last = lastLease(mode)
  const to = (next: Mode, action?: Action): Step => ({ state: { ...state, mode: next }, action })
  const acquire = (lastKnown: LastLease, action: Action) => to({ ...lastKnown, _tag: "Acquiring" }, action)
  const leave = () => to({ ...last, _tag: "Leaving", isSaved: false }, { _tag: "Save" })
  const use = (lease: Lease, until: number, returnUntil: number, grantedUntil = state.grantedUntil): State => {
    const next: Mode = { _tag: "Redis", lease, until, returnUntil }
    return { ...state, mode: next, areOthersGone: false, leftAt: Number.POSITIVE_INFINITY, grantedUntil }
  }
  const useGranted = ({ askedAt, lease: { number } }: Granted, action?: Action): Step => {
    const until = askedAt + timings.grantedMs
    return { state: use({ number, isConfirmed: true }, until, askedAt + timings.ttlMs, until), action }
  }
  /** Instances whose leases ran out may be alive and only cut off: they save their copies as soon as they are back. */
  const useWhole = (granted: Granted, lastKnown: LastLease): Step =>
    granted.lease.isWhole || granted.lease.ageMs >= timings.rejoinMs
      ? useGranted(granted)
      : acquire(lastKnown, { _tag: "Lease", afterMs: againMs })

  switch (event._tag) {
    case "ProbeDue":
      return to(mode, { _tag: "Probe" })
    case "ProbeEnded":
      return { state: { ...state, probedAt: now } }
    case "Suspected": {
      const next: Mode = mode._tag === "Redis" ? { ...mode, until: never } : mode
      return { state: { ...state, mode: next, probedAt: never } }
    }
    case "ShutDown":
      return to({ _tag: "Draining" }, { _tag: "Drain" })
    case "BufferAway":
      return mode._tag === "Postgres" ? to(mode, { _tag: "CheckOthers" }) : leave()
    case "BufferReached":
      if (event.isNewIncarnation) return acquire(last, { _tag: "Rescue" })
      return mode._tag === "Redis" ? to(mode, ask) : acquire(last, ask)
    case "Rescued":
      if (mode._tag !== "Acquiring") return stay
      return acquire({ ...last, known: undefined, returnUntil: never }, ask)
    case "LeaseGranted": {
      if (mode._tag !== "Acquiring" && mode._tag !== "Redis") return stay
      const { granted } = event
      if (granted.lease.number !== last.known)
        return acquire({ ...last, returnUntil: never }, { _tag: "Prepare", granted })
      if (mode._tag === "Acquiring") return useWhole(granted, last)
      return useGranted(granted, mode.lease.isConfirmed ? undefined : { _tag: "Flush" })
    }
    case "LeaseDenied": {
      if (mode._tag !== "Acquiring" && mode._tag !== "Redis") return stay
      if (last.known === undefined || event.askedAt > last.returnUntil) return leave()
      const lease = { number: last.known, isConfirmed: false }
      // A stalled instance learns late that it was denied. Only the time that Postgres had for its answer counts.
      const deniedAt = Math.min(now, event.askedAt + timings.patienceMs)
      const until = deniedAt + timings.unconfirmedMs
      return deniedAt - state.deniedSince > timings.contactGapMs
        ? { state: use(lease, until, event.askedAt + timings.steadyMs) }
        : { state: use(lease, Math.min(until, state.grantedUntil), last.returnUntil) }
    }
    case "Prepared":
      if (mode._tag !== "Acquiring") return stay
      return useWhole(event.granted, { known: event.granted.lease.number, returnUntil: never, isSaved: true })
    case "Saved":
      return mode._tag === "Leaving" ? to({ ...mode, isSaved: true }, { _tag: "Release" }) : stay
    case "Released":
      if (mode._tag !== "Leaving" || !mode.isSaved) return stay
      return { state: { ...state, mode: { _tag: "Postgres", known: mode.known }, areOthersGone: false, leftAt: now } }
    case "OthersChecked":
      return { state: { ...state, areOthersGone: state.areOthersGone || (isSaved(state) && !event.areLeased) } }
    case "Failed":
      if (mode._tag === "Acquiring") return leave()
      // Postgres is away still, so no instance bypasses the buffer soon.
      if (mode._tag === "Leaving" && now <= mode.returnUntil)
        return to({ ...mode, returnUntil: now + timings.steadyMs })
      return stay
  }
}
