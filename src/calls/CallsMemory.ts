// What the stages of a call need, in memory, for `Call.layerTest`: no database, no Redis, no network.
import { Layer } from "effect"
import { Catalog } from "../catalog/Catalog.ts"
import { CatalogRedis } from "../catalog/CatalogRedis.ts"
import { CatalogStore } from "../catalog/CatalogStore.ts"
import { Http } from "../infra/http/Http.ts"
import { Lifecycle } from "../observability/Lifecycle.ts"
import { Metrics } from "../observability/Metrics.ts"
import { Settings } from "../Settings.ts"
import { DeadLetters } from "../storage/DeadLetters.ts"
import { RecordStore } from "../storage/records/RecordStore.ts"
import { RecordStream } from "../storage/records/RecordStream.ts"
import { RecordWriter } from "../storage/records/RecordWriter.ts"
import { Breaker } from "./fetch/Breaker.ts"
import { Fetch } from "./fetch/Fetch.ts"
import { ResponseCache } from "./fetch/ResponseCache.ts"
import { Lookup } from "./Lookup.ts"
import { Record } from "./Record.ts"

/** The catalog: definitions by name, as the admin API takes them, and configurations by user. */
export type Content = NonNullable<Parameters<typeof CatalogStore.layerMemory>[0]>

/** The stages, and beside them what a test looks at: records stored and dead, metrics. */
export const layer = (http: Parameters<typeof Http.layerScripted>[0], content: Content) =>
  Layer.mergeAll(Lookup.layer, Fetch.layer, Record.layer).pipe(
    Layer.provide([Breaker.layer, ResponseCache.layer]),
    Layer.provide([Catalog.layer, Http.layerScripted(http)]),
    Layer.provide([CatalogRedis.layerNone, CatalogStore.layerMemory(content)]),
    Layer.provide([RecordWriter.layer, RecordStream.layerNone]),
    Layer.provideMerge(Layer.mergeAll(DeadLetters.layerMemory, RecordStore.layerMemory)),
    Layer.provideMerge(Layer.mergeAll(Metrics.layer, Lifecycle.layer)),
    Layer.provideMerge(Settings.layer)
  )
