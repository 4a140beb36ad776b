import type { EndCause } from '../../audit/events.ts';
import type { NightlatchError } from '../../core/errors.ts';
import type { OpenResult } from '../../session/types.ts';

/** SQLSTATE codes (PostgreSQL documentation, appendix A) that the gateway uses. */
export const SQLSTATE = {
  connectionFailure: '08006',
  protocolViolation: '08P01',
  featureNotSupported: '0A000',
  idleInTransaction: '25P03',
  invalidAuthorization: '28000',
  tooManyConnections: '53300',
  adminShutdown: '57P01',
  cannotConnectNow: '57P03',
  idleSession: '57P05',
  systemError: '58000',
  warning: '01000',
} as const;

/** The code that goes with the end of a session (SPEC 2.4). */
export function sqlstateOf(cause: EndCause): string {
  switch (cause) {
    case 'idle':
      return SQLSTATE.idleSession;
    case 'target_closed':
    case 'error':
      return SQLSTATE.connectionFailure;
    default:
      return SQLSTATE.adminShutdown;
  }
}

/** The code that goes with a session that was not opened. */
export function sqlstateOfRefusal(cause: Extract<OpenResult, { ok: false }>['cause']): string {
  switch (cause) {
    case 'denied':
    case 'locked':
      return SQLSTATE.invalidAuthorization;
    case 'limit':
      return SQLSTATE.tooManyConnections;
    case 'draining':
      return SQLSTATE.cannotConnectNow;
    case 'audit_unavailable':
      return SQLSTATE.systemError;
  }
}

/** The code that goes with an error before the session was usable. */
export function sqlstateOfError(error: NightlatchError): string {
  switch (error.code) {
    case 'decode':
    case 'protocol':
      return SQLSTATE.protocolViolation;
    case 'access_denied':
    case 'unauthenticated':
      return SQLSTATE.invalidAuthorization;
    case 'limit_exceeded':
      return SQLSTATE.tooManyConnections;
    default:
      return SQLSTATE.connectionFailure;
  }
}
