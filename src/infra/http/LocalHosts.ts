// Host names that this process serves itself: `sample.localhost` is the built-in sample upstream, on whichever port.
import { Context, Layer } from "effect"

export class LocalHosts extends Context.Service<
  LocalHosts,
  {
    readonly register: (hostname: string, port: number) => void
    /** The port on 127.0.0.1 of a registered name. */
    readonly resolve: (hostname: string) => number | undefined
  }
>()("hotpath/infra/http/LocalHosts") {
  static readonly layer = Layer.sync(LocalHosts, () => {
    const ports = new Map<string, number>()
    return LocalHosts.of({
      register: (hostname, port) => {
        ports.set(hostname, port)
      },
      resolve: (hostname) => ports.get(hostname)
    })
  })
}
