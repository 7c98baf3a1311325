// Ids as they are made here: UUIDs in lower case, with dashes.

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/
/**
 * What has another shape is no id of a room, a thread or a message: it is not found, and stands in no key and no statement
 * (PostgreSQL would take some of it for another spelling of an id).
 */
export const isUuid = (id: string): boolean => uuid.test(id)
