// What the services of rooms need, in memory, for `Messages.layerTest` and `Documents.layerTest`; with it come rooms,
// invites and threads, to make what they work on.
import { Layer } from "effect"
import { RateLimits } from "../cluster/limits/RateLimits.ts"
import { Locks } from "../cluster/locks/Locks.ts"
import { MembershipCache } from "../cluster/rooms/MembershipCache.ts"
import { Presence } from "../cluster/rooms/Presence.ts"
import * as RoomBusMemory from "../cluster/rooms/RoomBusMemory.ts"
import { SharedStores } from "../cluster/stores/SharedStores.ts"
import { Lifecycle } from "../observability/Lifecycle.ts"
import { Metrics } from "../observability/Metrics.ts"
import { Settings } from "../Settings.ts"
import * as StoresMemory from "../storage/rooms/memory/StoresMemory.ts"
import { Access } from "./Access.ts"
import { CustomEvents } from "./CustomEvents.ts"
import { Hub } from "./delivery/Hub.ts"
import { OutboxRelay } from "./delivery/OutboxRelay.ts"
import { UnpublishedRooms } from "./delivery/UnpublishedRooms.ts"
import { Invites } from "./Invites.ts"
import { PresenceTracker } from "./PresenceTracker.ts"
import { RoomReadCache } from "./RoomReadCache.ts"
import { Rooms } from "./Rooms.ts"
import { Signals } from "./Signals.ts"
import { Subscriptions } from "./Subscriptions.ts"
import { Threads } from "./Threads.ts"

export const layer = Layer.mergeAll(
  CustomEvents.layer,
  Rooms.layer,
  Signals.layer,
  Subscriptions.layer,
  Threads.layer
).pipe(
  Layer.provideMerge(Invites.layer),
  Layer.provide(PresenceTracker.layer),
  Layer.provideMerge(Layer.mergeAll(OutboxRelay.layer).pipe(Layer.provideMerge(Hub.layer))),
  Layer.provideMerge(Access.layer),
  Layer.provideMerge(RoomReadCache.layer),
  Layer.provide([Presence.layerMemory, MembershipCache.layerMemory, Locks.layerMemory, RateLimits.layerMemory]),
  Layer.provideMerge(UnpublishedRooms.layerMemory),
  Layer.provideMerge(Layer.mergeAll(RoomBusMemory.layer, SharedStores.layerAlone)),
  Layer.provideMerge(StoresMemory.layer),
  Layer.provideMerge(Layer.mergeAll(Metrics.layer, Lifecycle.layer)),
  Layer.provideMerge(Settings.layer)
)
