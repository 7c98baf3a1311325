// What happens before anything is measured is tried again: a machine that is busy then is no reason to give up.
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
