// Contacts and feedback of users: the port. ContactStoreSql.ts and memory/ContactStoreMemory.ts implement it.
import { Context } from "effect"
import type { Contact, Feedback, TooManyContacts } from "../../domain/Contact.ts"
import type { Operation } from "./Committed.ts"
import type { ListQuery } from "./ListPart.ts"

export class ContactStore extends Context.Service<
  ContactStore,
  {
    /** Adding a contact again replaces its name and note. */
    readonly add: (owner: string, contact: Contact) => Operation<Contact, TooManyContacts>
    /** In the order they were added. */
    readonly list: (owner: string, query?: ListQuery) => Operation<ReadonlyArray<Contact>>
    readonly remove: (owner: string, user: string) => Operation<void>
    readonly addFeedback: (feedback: Feedback) => Operation<void>
  }
>()("hotpath/storage/rooms/ContactStore") {}
