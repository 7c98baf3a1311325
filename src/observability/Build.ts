// What this process is: the package's version, and an id that tells it from every other instance.
import manifest from "../../package.json" with { type: "json" }

export const version: string = manifest.version
