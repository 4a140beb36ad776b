import { type ErrorCode, errorMessage, NightlatchError } from '../../core/errors.ts';
import type { Logger } from '../../core/logger.ts';
import type { ErrorBody } from '../../wire/api/messages.ts';

/** HTTP status of each error code (RFC 9110 section 15). */
export const HTTP_STATUS = {
  access_denied: 403,
  already_exists: 409,
  audit_unavailable: 503,
  bad_parameter: 400,
  cancelled: 400,
  conflict: 409,
  decode: 400,
  internal: 500,
  limit_exceeded: 429,
  not_found: 404,
  protocol: 400,
  timeout: 504,
  too_large: 413,
  unauthenticated: 401,
  unavailable: 503,
} as const satisfies Record<ErrorCode, number>;

/** The answer to whatever was thrown. What is not ours, or is our own fault, is told to the log only. */
export function errorResponse(error: unknown, log: Logger, path: string): Response {
  if (error instanceof NightlatchError && error.code !== 'internal') {
    return respond(error.code, error.message);
  }
  log.error('an API call failed', {
    path,
    error: errorMessage(error),
    ...(error instanceof Error ? { stack: error.stack } : {}),
  });
  return respond('internal', 'internal error; the log of the server says more');
}

function respond(code: ErrorCode, message: string): Response {
  const body: ErrorBody = { error: { code, message } };
  return Response.json(body, { status: HTTP_STATUS[code] });
}
