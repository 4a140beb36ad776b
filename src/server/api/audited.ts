import type { EventType } from '../../audit/catalog.ts';
import { errorMessage } from '../../core/errors.ts';
import type { ServerContext } from '../context.ts';
import { type Caller, callerName } from './caller.ts';

/**
 * Makes a change that the audit log tells of.
 *
 * INVARIANT: the event is on disk before anybody can see the consequence of the change (SPEC 3); a change that then fails is followed
 * by an event that says so.
 */
export async function audited<T>(
  ctx: ServerContext,
  caller: Caller,
  type: EventType,
  fields: Readonly<Record<string, unknown>>,
  change: () => Promise<T>,
): Promise<T> {
  const event = { ...type, user: callerName(caller), ...fields };
  await ctx.audit.emit({ ...event, success: true });
  try {
    return await change();
  } catch (error) {
    await ctx.audit.emit({ ...event, success: false, error: errorMessage(error) });
    throw error;
  }
}
