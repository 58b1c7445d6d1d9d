import { erasureDecider, type PayloadErasure, refuseIfHeld } from '../../commands/erasure.ts'
import { erasureId } from '../../events/erasure.ts'
import { type MessageRef, messageRefOf } from '../../events/refs.ts'
import { erasureStream } from '../../events/streams.ts'
import { msPerDay } from '../../lib/days.ts'
import { codeOf } from '../../lib/errors.ts'
import { projectionNames } from '../../projections/names.ts'
import type { ApiDependencies } from '../dependencies.ts'
import { createExecuteCommand } from '../execute-command.ts'
import { findErasure } from '../payload-state.ts'
import { awaitProjection } from '../projection-lag.ts'
import { guardedRoute, type Route } from '../route.ts'
import { envelopeResult } from '../route-results.ts'
import { createRoutedMessages } from '../routed-messages.ts'
import { envelope, envelopeExample, messageId } from '../schemas/common.ts'
import { payloadErasure, type Remainder } from '../schemas/erasure.ts'
import { exampleOf } from '../schemas/json-schema.ts'

/** The route that erases the payload of an event. The process manager of erasures does the work, so it is completed even after a crash. */
export function createErasureRoutes(deps: ApiDependencies): Route[] {
  const executeCommand = createExecuteCommand(deps)
  const routedMessages = createRoutedMessages(deps)
  const readModel = projectionNames.erasureManager

  /** Returns the erasure as it is stored now. It waits a bounded time for its completion. */
  const completed = async (message: MessageRef): Promise<PayloadErasure> => {
    const { erasure, position, stream } = await findErasure(deps.streams, message)
    if (erasure === null) throw new Error('the erasure that was just asked for is not stored')
    if (erasure.erased_at !== null || position === null) return erasure
    await awaitProjection(deps, readModel, position, stream)
    return (await findErasure(deps.streams, message)).erasure ?? erasure
  }
  return [
    guardedRoute({
      method: 'DELETE',
      path: '/v1/events/:id/payload',
      operationId: 'erasePayload',
      summary: 'Erase the payload of an event for good',
      description:
        'Removes the bytes of the payload from the archive. Deliveries that are still to be sent end with the reason `payload_erased`, and the event cannot be replayed. ' +
        'The audit log keeps who asked, when, and the words of `Kolbak-Reason`. The response lists where the content may still be, and until when. The request can be repeated.',
      params: { id: { ...messageId, description: 'The id of the event.' } },
      tag: 'Events',
      credentials: 'bearer',
      scope: 'write:events',
      errors: ['conflict', 'on_hold'],
      responses: {
        200: { description: 'The payload is erased.', schema: envelope(payloadErasure) },
        202: {
          description: 'The erasure is stored in the audit log and goes on. It is completed even after a crash.',
          schema: envelope(payloadErasure),
          example: envelopeExample(exampleOf(payloadErasure, { erased_at: null, erased_event_id: null })),
        },
      },
      async handler(request) {
        const { params, caller, gone } = request
        const message = messageRefOf(await routedMessages.find(caller.tenant, params.id, gone))
        await refuseIfHeld(deps.streams, message.tenant, new Date(deps.now()).toISOString())
        const command = { type: 'AskPayloadErasure', message } as const
        try {
          await executeCommand(erasureDecider, erasureStream(erasureId(message)), command, request, { readModel, create: true })
        } catch (error) {
          if (codeOf(error) !== 'already_exists') throw error // somebody has asked before
        }
        const erasure = await completed(message)
        return envelopeResult(erasure.erased_at === null ? 202 : 200, {
          id: message.message,
          asked_at: erasure.asked_at,
          asked_event_id: erasure.asked_event,
          erased_at: erasure.erased_at,
          erased_event_id: erasure.erased_event,
          remains: remainsOf(deps, message),
        })
      },
    }),
  ]
}

/** Returns where the content may still be after the erasure. */
function remainsOf({ bus, settings, now }: ApiDependencies, { accepted_at }: MessageRef): Remainder[] {
  const keptUntil = (from: number) => new Date(from + settings.retentionDays * msPerDay).toISOString()
  const expires_at = keptUntil(Date.parse(accepted_at))
  return [
    ...(bus.eraseBodies === undefined ? [{ where: 'bus', until: expires_at } as const] : []),
    { where: 'responses', until: expires_at },
    { where: 'repeats', until: keptUntil(now()) },
    { where: 'receivers', until: null },
    { where: 'backups', until: null },
  ]
}
