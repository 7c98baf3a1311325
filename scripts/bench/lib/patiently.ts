// Retries preparations: a machine that is busy before the measurement starts is no reason to fail.
import { setTimeout as pause } from "node:timers/promises"

export const patiently = async <A>(attempt: () => Promise<A>): Promise<A> => {
  for (let left = 5; ; left--) {
    try {
      return await attempt()
    } catch (error) {
      if (left === 0) throw error
      await pause(1000)
    }
  }
}
