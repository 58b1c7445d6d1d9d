/** An error of the server or of the connection to it. It is printed as one sentence, and the exit code is 1. */
export class CommandError extends Error {
  /** The response of the server in the envelope of the API, if there was one. */
  readonly envelope: object | undefined
  constructor(message: string, options: { cause?: unknown; envelope?: object } = {}) {
    super(message, options.cause === undefined ? {} : { cause: options.cause })
    this.envelope = options.envelope
  }
}
/** An error in what the user typed. It is printed as one sentence, and the exit code is 2. */
export class UsageError extends Error {}
