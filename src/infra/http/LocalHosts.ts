// Host names that this process answers itself: `sample.localhost` is the built-in sample upstream, wherever it listens.
import { Context, Layer } from "effect"

export class LocalHosts extends Context.Service<
  LocalHosts,
  {
    readonly register: (hostname: string, port: number) => void
    /** The port on 127.0.0.1 behind a name, if it is one of ours. */
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
