// Puts a function around every effect that a service offers: around the effects that its methods return, and those that
// are its fields. Everything else stays as it is: synchronous functions, constants, getters, classes, streams.
import { Effect } from "effect"

export interface Intercepted {
  /** The name of the method, or of the field. */
  readonly method: string
  /** What the method is called with; none for a field. */
  readonly args: ReadonlyArray<unknown>
}

/**
 * Called for each effect when it is made. What it returns takes the effect's place, so it must succeed with the same
 * type, and fail with the errors of the method: the types can't say so, because they differ from method to method.
 */
export type Around = (
  call: Intercepted
) => (effect: Effect.Effect<unknown, unknown, unknown>) => Effect.Effect<unknown, unknown, unknown>

const isEffect = (value: unknown): value is Effect.Effect<unknown, unknown, unknown> => Effect.isEffect(value)

/**
 * The same service with `around` around its effects. Methods are called on the original, so private fields work, and a
 * method that calls another one of its service is not intercepted a second time. A field that changes later is read
 * anew, and written through.
 */
export const intercept = <S extends object>(service: S, around: Around): S => {
  const functions = new Map<unknown, unknown>()

  const wrap = (method: string, value: unknown): unknown => {
    if (isEffect(value)) return around({ method, args: [] })(value)
    if (typeof value !== "function" || method === "constructor") return value
    const known = functions.get(value)
    if (known !== undefined) return known
    // A proxy, so that the function's own fields, its length and its prototype stay.
    const wrapped = new Proxy(value, {
      apply: (original, _this, args: ReadonlyArray<unknown>) => {
        const result: unknown = Reflect.apply(original, service, args)
        return isEffect(result) ? around({ method, args })(result) : result
      }
    })
    functions.set(value, wrapped)
    return wrapped
  }

  const copy: S = Object.create(Object.getPrototypeOf(service))
  const mirror = (from: object, isOwn: boolean) => {
    for (const key of Reflect.ownKeys(from)) {
      if (Object.hasOwn(copy, key)) continue
      const method = String(key)
      Object.defineProperty(copy, key, {
        configurable: true,
        enumerable: isOwn && Object.prototype.propertyIsEnumerable.call(from, key),
        get: () => wrap(method, Reflect.get(service, key)),
        set: (value: unknown) => void Reflect.set(service, key, value)
      })
    }
  }
  mirror(service, true)
  for (
    let from: object | null = Object.getPrototypeOf(service);
    from !== null && from !== Object.prototype;
    from = Object.getPrototypeOf(from)
  ) {
    mirror(from, false)
  }
  return copy
}
