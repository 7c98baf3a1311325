// The common part of the scripts that append to a room's log in Redis, in Lua. A room's hash holds `epoch`, `seq` (the
// last sequence number), `rev` (the last change number published), `run` (the server incarnation that these belong to),
// `gen` (the room's epoch counter), `lives` (the time in seconds until which both keys live at least), and the sequence
// number of the last change of each part of the room.
//
// A restarted server may have lost its last second, and with it sequence numbers that clients have seen. So another
// incarnation means another epoch, whose first eight digits name the incarnation. After a document switch was
// published, the open document is looked up again (storage/buffer/WriteScripts.ts).
import { SecureRandom } from "effect/crypto"
import type { RedisHealth } from "./RedisHealth.ts"
import { channelOf, shardOf } from "./RoomKeys.ts"
import { runIdLua } from "./RunId.ts"

/**
 * About how many events of a room are kept for clients that resume (fewer if they are big), and how long after the
 * last, within an hour.
 */
export const retention = { events: 1000, bytes: 2_000_000, forMs: 24 * 3_600_000 } as const

/** Both keys get this much more time than they need, so that their time is set once an hour, not with each event. */
const spareSeconds = 3600

/** The command that publishes on the channel of ARGV 3. */
export const publishLua = "string.sub(ARGV[3], 1, 1) == '{' and 'SPUBLISH' or 'PUBLISH'"

/**
 * KEYS: the room's hash, its stream. ARGV: 1 the suffix of a new epoch, if one begins; 2 the room's epoch counter, or
 * 0; 3 the channel; 4 the room; 5 the time to live of the keys; 6 the number of events kept. `open(create, …)` returns
 * whether the room exists; `more` then has the further fields of the hash that were named. `append` and `set` change
 * fields of the hash, which `close` writes: each command takes about a µs.
 */
export const prologue = `
local epoch, seq, rev, run, lives, more, time
local names, values = {}, {}
local function clock()
  time = time or redis.call('TIME')
  return time
end
local function set(field, value)
  if values[field] == nil then names[#names + 1] = field end
  values[field] = value
end
local function open(create, ...)
  local meta = redis.call('HMGET', KEYS[1], 'epoch', 'seq', 'rev', 'run', 'gen', 'lives', ...)
  if not meta[1] and not create then return false end
  if not meta[1] then redis.call('DEL', KEYS[2]) end
  run = ${runIdLua}
  epoch, seq, rev, more = meta[1], tonumber(meta[2] or 0), tonumber(meta[3] or 0), {unpack(meta, 7)}
  lives = tonumber(meta[6] or 0)
  local gen, known = tonumber(ARGV[2]), tonumber(meta[5] or 0)
  if meta[4] ~= run or gen > known then
    epoch = string.sub(run, 1, 8) .. ARGV[1]
    redis.call('HSET', KEYS[1], 'epoch', epoch, 'seq', seq, 'rev', rev, 'run', run, 'gen', math.max(gen, known))
    if lives == 0 then redis.call('PEXPIRE', KEYS[1], ARGV[5]) end
  end
  return true
end
local function append(changeNumber, at, type, subject, part, event)
  seq = seq + 1
  local limit = math.max(16, math.min(tonumber(ARGV[6]), math.floor(${retention.bytes} / #event)))
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', limit, seq .. '-0',
    'v', changeNumber, 'a', at, 't', type, 's', subject, 'e', event)
  if part == 'all' then
    set('messages', seq)
    set('threads', seq)
    set('people', seq)
  elseif part ~= 'none' then set(part, seq) end
  if type == 'document.switched' then redis.call('HDEL', KEYS[1], 'docmark') end
  redis.call(${publishLua}, ARGV[3], table.concat({ARGV[4], epoch, seq, changeNumber, at, type, subject, event}, '\\n'))
end
local function close()
  local needed = clock()[1] + math.ceil(ARGV[5] / 1000)
  if lives < needed then
    set('lives', needed + ${spareSeconds})
    redis.call('PEXPIRE', KEYS[1], ARGV[5] + ${spareSeconds * 1000})
    redis.call('PEXPIRE', KEYS[2], ARGV[5] + ${spareSeconds * 1000})
  end
  local pairs = {'seq', seq, 'rev', rev}
  for _, name in ipairs(names) do
    pairs[#pairs + 1] = name
    pairs[#pairs + 1] = values[name]
  end
  redis.call('HSET', KEYS[1], unpack(pairs))
end
`

/** Makes ARGV 1 to 6. A random part of this process and a count make a new epoch unique. */
export const makeCommon = ({ isCluster, named }: Pick<RedisHealth["Service"], "isCluster" | "named">) => {
  const process = SecureRandom.uuidV4Unsafe().slice(0, 8)
  let count = 0
  return (roomId: string, epochCounter: number): ReadonlyArray<unknown> => [
    `-${process}-${(count++).toString(36)}`,
    epochCounter,
    named(isCluster ? shardOf(roomId) : channelOf(roomId)),
    roomId,
    retention.forMs,
    retention.events
  ]
}
export type Common = ReturnType<typeof makeCommon>
/** The number of arguments that `common` makes: a script's own arguments follow. */
export const own = 6
