import { type AnyFieldTable, fieldsThatAre } from './fields.ts'
import { keyFields } from './key.ts'
import { clientFields } from './tenant.ts'
import { webhookFields } from './webhook.ts'

/** The fields whose values no caller may see. They include the HMAC of a secret. */
export const secretFields: ReadonlySet<string> = new Set(
  [webhookFields, keyFields, clientFields].flatMap((table: AnyFieldTable) => fieldsThatAre(table, 'secret')),
)
