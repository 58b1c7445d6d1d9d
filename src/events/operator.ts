import type { FieldsOf } from './fields.ts'

/** The acts of operators that do not go through the API. These events are in the stream of the audit log itself. */
export interface OperatorEvents {
  /**
   * An operator runs a command that changes the service or its data without the API. A first event says that the command begins, and a second one, which
   * names the first one as its cause, says how it ended.
   */
  OperatorActed: {
    /** The command, for example `operate skip`. */
    readonly command: string
    readonly arguments: Readonly<Record<string, string>>
    /** The account of the operating system that ran the command, and the name of the machine. */
    readonly operator: { readonly user: string; readonly host: string }
    readonly outcome: 'begun' | 'done' | 'failed'
    /** The code of the error with which the command failed, or null. */
    readonly code: string | null
  }
}
export const operatorEventFields = {
  command: 'clear',
  arguments: 'clear',
  operator: 'sealed_json',
  outcome: 'clear',
  code: 'clear',
} as const satisfies FieldsOf<OperatorEvents>
