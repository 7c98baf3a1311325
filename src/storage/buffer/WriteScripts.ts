// The write buffer's scripts that write and read entries. Keys, beside a room's hash and stream
// (infra/redis/RoomLog.ts):
//
// | key               | in the room's slot                                                                          |
// | ----------------- | ------------------------------------------------------------------------------------------- |
// | `:messages`       | Hash: the messages that wait, by id.                                                         |
// | `:messages:order` | Sorted set: their ids by ordinal (`orderLua`).                                               |
// | `:docs`           | Set: names of the documents that wait.                                                       |
// | `:doc:NAME`       | Hash: a document's `event` (with its text), `version`, `saved`, `author`, `at`, `mark`.      |
// | `:key:AUTHOR KEY` | The id of the message that was sent with this key.                                           |
//
// | key               | once for all rooms of a hash tag                                                            |
// | ----------------- | ------------------------------------------------------------------------------------------- |
// | `:due`            | Sorted set: when each room that waits is to be flushed.                                      |
// | `:since`          | Sorted set: since when each of them waits.                                                   |
// | `:depth`          | Hash: how many `entries` wait; `born`, the name of this data.                                |
//
// A `mark` is the server's run and the lease in which a document was compared with Postgres. In the room's hash, `doc`
// is the name of the open document and `docmark` the mark of that; `leased` is the lease under which the room began to
// wait.
//
// A message is JSON that begins with its version and its ordinal, where the scripts find them. A document's text is
// stored once, in the event of its last update.
import { Effect, Schema } from "effect"
import { Redis } from "effect/persistence"
import { type Document, updatedEvent } from "../../domain/Document.ts"
import type { Message } from "../../domain/Message.ts"
import { roomKey, streamKey, tagOf, tags } from "../../infra/redis/RoomKeys.ts"
import { type Common, own, prologue } from "../../infra/redis/RoomLog.ts"
import { BufferedMessage, BufferUnavailable, type Change, dueAt, dueBytes, type Update } from "./WriteBuffer.ts"

/** The names of earlier releases: their entries may still wait after an upgrade. */
const names = { version: `edition`, ordinal: `position` } as const

/** A message's text after its ordinal, which the buffer gives. */
const messageTail = ({ key, message }: Pick<BufferedMessage, "key" | "message">): string =>
  `,"key":${JSON.stringify(key)},"message":${JSON.stringify(message)}}`

const unreadable = Effect.mapError((cause: Schema.SchemaError) => new BufferUnavailable({ isSent: true, cause }))

const storedMessage = Schema.decodeUnknownEffect(Schema.fromJsonString(BufferedMessage.pipe(Schema.encodeKeys(names))))
export const decodeMessage = (text: string) => unreadable(storedMessage(text))

const documentEvent = Schema.decodeUnknownEffect(Schema.fromJsonString(Schema.Struct({ text: Schema.String })))
/** The text of the document that the event is of. */
export const decodeDocument = (event: string) => Effect.map(unreadable(documentEvent(event)), ({ text }) => text)

/** How long a document is remembered after it was flushed, and a message's key after it was sent. */
export const rememberedMs = 24 * 3_600_000

export const dueKey = (tag: string) => `${tag}:due`
export const sinceKey = (tag: string) => `${tag}:since`
export const depthKey = (tag: string) => `${tag}:depth`
export const messagesKey = (roomId: string) => `${roomKey(roomId)}:messages`
const documentKey = (roomId: string, name: string) => `${roomKey(roomId)}:doc:${name}`
const onceKey = (roomId: string, author: string, key: string) => `${roomKey(roomId)}:key:${author}\n${key}`

export const keys = (roomId: string) => {
  const [room, tag] = [roomKey(roomId), tagOf(roomId)]
  return [room, streamKey(roomId), dueKey(tag), sinceKey(tag), depthKey(tag), `${room}:docs`, messagesKey(roomId)]
}
export const count = 7

/** The keys, of which a script may have one more, and the arguments that all scripts begin with. */
export const start = (common: Common, roomId: string, ...more: ReadonlyArray<string>) => {
  return [...keys(roomId), ...more, ...common(roomId, 0)]
}

/**
 * The index of the messages that wait. Instances of an early release append and settle without it. So the room's hash
 * has, beside the last ordinal (`position`), the ordinal up to which the index is complete (`indexed`). An append
 * without the index makes the two differ, and the index is not used until a `settle` builds it anew. Ids that only the
 * index has are skipped.
 */
export const orderLua = `
local order = KEYS[7] .. ':order'
local function versionOf(text) return string.match(text, '^{"${names.version}":(%d+)') end
local function positionOf(text) return string.match(text, '^{"${names.version}":%d+,"${names.ordinal}":(%d+)') end
`

export const timeLua = "local function millis(time) return time[1] * 1000 + math.floor(time[2] / 1000) end"

const lua = `${prologue}${orderLua}${timeLua}
local function waits(time, interval, lease)
  local now = millis(time)
  redis.call('ZADD', KEYS[3], 'NX', now + interval, ARGV[4])
  if redis.call('ZADD', KEYS[4], 'NX', now, ARGV[4]) == 1 then set('leased', lease) end
  redis.call('HINCRBY', KEYS[5], 'entries', 1)
end
`

export type UpdateReply =
  | readonly ["ok", saved: number, added: number]
  | readonly ["conflict", version: number, event: string]
  | readonly ["unsure"]
  | readonly ["closed", name: string]
  | readonly ["unknown", run: string]

export const update = (common: Common) =>
  Redis.script(
    (roomId: string, { at, baseVersion, connectionId, event, lease, name, seen, user }: Update, interval: number) => [
      ...start(common, roomId, documentKey(roomId, name)),
      name,
      baseVersion,
      user,
      connectionId,
      at,
      event,
      lease,
      interval,
      seen?.epoch ?? "",
      seen?.people ?? 0
    ],
    {
      numberOfKeys: count + 1,
      lua: `${lua}
      open(true, 'doc', 'docmark', 'people')
      local opened, openMark, people = more[1], more[2], more[3] or '0'
      local name, base, user, connection, at, event, lease, interval, seen, seenPeople = unpack(ARGV, ${own + 1})
      if seen ~= '' and (seen ~= epoch or seenPeople ~= people) then return {'unsure'} end
      local mark = run .. lease
      if not opened or openMark ~= mark then return {'unknown', run} end
      if opened ~= name then return {'closed', opened} end
      local document = redis.call('HMGET', KEYS[8], 'version', 'saved', 'mark')
      if not document[1] or document[3] ~= mark then return {'unknown', run} end
      local version = tonumber(document[1])
      if tonumber(base) ~= version then return {'conflict', version, redis.call('HGET', KEYS[8], 'event')} end
      redis.call('HSET', KEYS[8], 'event', event, 'version', string.format('%.0f', version + 1), 'author', user, 'at', at)
      -- A document that waits has no time to live, and its room is in the lists of rooms that wait.
      local added = redis.call('SADD', KEYS[6], name)
      if added == 1 then
        redis.call('PERSIST', KEYS[8])
        waits(clock(), interval, lease)
      end
      append(0, at, 'document.updated', connection, 'none', event)
      close()
      return {'ok', tonumber(document[2]), added}`
    }
  ).withReturnType<UpdateReply>()

export const load = (common: Common) =>
  Redis.script(
    (
      roomId: string,
      { name, text, version }: Document,
      isOpen: boolean,
      lease: number,
      parts: ReadonlyArray<string>
    ) => [
      ...start(common, roomId, documentKey(roomId, name)),
      name,
      updatedEvent(name, version, "", text),
      version,
      isOpen ? 1 : 0,
      lease,
      parts[tags.indexOf(tagOf(roomId))] ?? ""
    ],
    {
      numberOfKeys: count + 1,
      lua: `${lua}
      open(true)
      local name, event, version, isOpen, lease, part = unpack(ARGV, ${own + 1})
      if part ~= run .. ' ' .. (redis.call('HGET', KEYS[5], 'born') or '') then return 0 end
      local loaded, mark = tonumber(version), run .. lease
      if isOpen == '1' then redis.call('HSET', KEYS[1], 'doc', name, 'docmark', mark) end
      local there = redis.call('HMGET', KEYS[8], 'version', 'saved', 'mark')
      local known = tonumber(there[1] or -1)
      if loaded > known or loaded == known and there[3] ~= mark then
        redis.call('HSET', KEYS[8], 'event', event, 'version', version)
        if redis.call('SREM', KEYS[6], name) == 1 then redis.call('HINCRBY', KEYS[5], 'entries', -1) end
      end
      local saved = string.format('%.0f', math.max(tonumber(there[2] or 0), loaded))
      redis.call('HSET', KEYS[8], 'mark', mark, 'saved', saved)
      if redis.call('SISMEMBER', KEYS[6], name) == 0 then redis.call('PEXPIRE', KEYS[8], ${rememberedMs}) end
      return 1`
    }
  ).withReturnType<number>()

export const document = (common: Common) =>
  Redis.script((roomId: string, name: string, lease: number) => [...start(common, roomId), name, lease], {
    numberOfKeys: count,
    lua: `${lua}
      if not open(false, 'doc', 'docmark') then return false end
      local name, mark = ARGV[${own + 1}], run .. ARGV[${own + 2}]
      if name == '' then
        if not more[1] or more[2] ~= mark then return false end
        name = more[1]
      end
      local found = redis.call('HMGET', KEYS[1] .. ':doc:' .. name, 'event', 'version', 'saved', 'mark')
      if not found[1] or found[4] ~= mark then return false end
      return {name, found[1], tonumber(found[2]), tonumber(found[3])}`
  }).withReturnType<readonly [name: string, event: string, version: number, saved: number] | null>()

export const append = (common: Common) =>
  Redis.script(
    (message: Message, key: string | undefined, event: string, lease: number, interval: number) => [
      ...start(common, message.roomId, onceKey(message.roomId, message.author, key ?? "")),
      message.messageId,
      key === undefined ? 0 : 1,
      messageTail({ key: key ?? null, message }),
      message.at,
      event,
      lease,
      interval
    ],
    {
      numberOfKeys: count + 1,
      lua: `${lua}
      open(true, 'position', 'indexed', 'waiting')
      local id, hasKey, tail, at, event, lease, interval = unpack(ARGV, ${own + 1})
      if hasKey == '1' and not redis.call('SET', KEYS[8], id, 'NX', 'PX', ${rememberedMs}) then
        return {redis.call('GET', KEYS[8]), '0'}
      end
      local time, last = clock(), tonumber(more[1] or 0)
      local position = string.format('%.0f', math.max(last + 1, time[1] * 1000000 + time[2]))
      local entry = '{"${names.version}":0,"${names.ordinal}":' .. position .. tail
      if redis.call('HSETNX', KEYS[7], id, entry) == 0 then return {id, '0'} end
      local waiting, indexed, bytes = redis.call('HLEN', KEYS[7]), more[1] and more[1] == more[2], tonumber(more[3] or 0)
      if waiting == 1 then
        redis.call('DEL', order)
        indexed, bytes = true, 0
        waits(time, interval, lease)
      else redis.call('HINCRBY', KEYS[5], 'entries', 1) end
      bytes = bytes + #entry
      set('position', position)
      set('indexed', indexed and position or '')
      set('waiting', bytes)
      if indexed then redis.call('ZADD', order, position, id) end
      if waiting >= ${dueAt} or bytes >= ${dueBytes} then redis.call('ZADD', KEYS[3], 'LT', millis(time), ARGV[4]) end
      append(0, at, 'message.sent', '', 'messages', event)
      close()
      return {id, position}`
    }
  ).withReturnType<readonly [messageId: string, ordinal: string]>()

export const replace = (common: Common) =>
  Redis.script(
    (entry: BufferedMessage, { at, event, type }: Change) => [
      ...start(common, entry.message.roomId),
      entry.message.messageId,
      entry.version - 1,
      `{"${names.version}":${entry.version},"${names.ordinal}":${entry.ordinal}${messageTail(entry)}`,
      at,
      type,
      event
    ],
    {
      numberOfKeys: count,
      lua: `${lua}
      open(true)
      local id, before, entry, at, change, event = unpack(ARGV, ${own + 1})
      local there = redis.call('HGET', KEYS[7], id)
      if not there or versionOf(there) ~= before then return 0 end
      redis.call('HSET', KEYS[7], id, entry)
      if redis.call('HINCRBY', KEYS[1], 'waiting', #entry - #there) >= ${dueBytes} then
        redis.call('ZADD', KEYS[3], 'LT', millis(clock()), ARGV[4])
      end
      append(0, at, change, '', 'messages', event)
      close()
      return 1`
    }
  ).withReturnType<number>()
