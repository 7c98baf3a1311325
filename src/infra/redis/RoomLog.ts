// What the scripts of rooms have in common, in Lua. A room's hash holds `epoch`, `seq` (the last number given), `rev` (the
// last changeNumber published), `run` (the server's run that these are of), `gen` (the room's generation), and up to which
// number its parts changed. A server that was restarted may have lost its last second, and with it numbers that were seen:
// another run is another epoch, which says in its first eight digits what run it is of. Asking for the run costs 5 µs.
// Once a switch of the document was told, which one is open is asked anew (storage/WriteScripts.ts).
import { SecureRandom } from "effect/crypto"
import type { RedisHealth } from "./RedisHealth.ts"
import { channel, shardOf } from "./RoomKeys.ts"

/** How many events of a room are kept for those who missed them, about (fewer if they are big); and how long after the last. */
export const retention = { events: 1000, bytes: 2_000_000, forMs: 24 * 3_600_000 } as const

/**
 * KEYS: the room's hash, its stream. ARGV 1 an epoch to begin, if one has to; 2 the room's generation, or 0; 3 the channel;
 * 4 the room; 5 how long all this is kept; 6 how many events. `open(create, …)` returns whether the room is there; the
 * further fields of its hash that it names are in `more` then.
 */
export const prologue = `
local epoch, seq, rev, run, more
local function open(create, ...)
  local meta = redis.call('HMGET', KEYS[1], 'epoch', 'seq', 'rev', 'run', 'gen', ...)
  if not meta[1] and not create then return false end
  if not meta[1] then redis.call('DEL', KEYS[2]) end
  run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
  epoch, seq, rev, more = meta[1], tonumber(meta[2] or 0), tonumber(meta[3] or 0), {unpack(meta, 6)}
  local gen, known = tonumber(ARGV[2]), tonumber(meta[5] or 0)
  if meta[4] ~= run or gen > known then
    epoch = string.sub(run, 1, 8) .. ARGV[1]
    redis.call('HSET', KEYS[1], 'epoch', epoch, 'seq', seq, 'rev', rev, 'run', run, 'gen', math.max(gen, known))
    redis.call('PEXPIRE', KEYS[1], ARGV[5])
  end
  return true
end
local function append(changeNumber, at, type, subject, part, event)
  seq = seq + 1
  local most = math.max(16, math.min(tonumber(ARGV[6]), math.floor(${retention.bytes} / #event)))
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', most, seq .. '-0',
    'v', changeNumber, 'a', at, 't', type, 's', subject, 'e', event)
  if part == 'all' then redis.call('HSET', KEYS[1], 'messages', seq, 'threads', seq, 'people', seq)
  elseif part ~= 'none' then redis.call('HSET', KEYS[1], part, seq) end
  if type == 'document.switched' then redis.call('HDEL', KEYS[1], 'docmark') end
  local told = string.sub(ARGV[3], 1, 1) == '{' and 'SPUBLISH' or 'PUBLISH'
  redis.call(told, ARGV[3], table.concat({ARGV[4], epoch, seq, changeNumber, at, type, subject, event}, '\\n'))
end
local function close()
  redis.call('HSET', KEYS[1], 'seq', seq, 'rev', rev)
  redis.call('PEXPIRE', KEYS[1], ARGV[5])
  redis.call('PEXPIRE', KEYS[2], ARGV[5])
end
`

/** Makes ARGV 1 to 6. An epoch that begins is told from all others by a random part of this process and a count. */
export const makeCommon = ({ isCluster, named }: Pick<RedisHealth["Service"], "isCluster" | "named">) => {
  const shared = named(channel)
  const process = SecureRandom.uuidV4Unsafe().slice(0, 8)
  let count = 0
  return (roomId: string, epochCounter: number): ReadonlyArray<unknown> => [
    `-${process}-${(count++).toString(36)}`,
    epochCounter,
    isCluster ? named(shardOf(roomId)) : shared,
    roomId,
    retention.forMs,
    retention.events
  ]
}
export type Common = ReturnType<typeof makeCommon>
/** How many arguments `common` gives: the script's own come after. */
export const own = 6
