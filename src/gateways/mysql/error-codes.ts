import type { EndCause } from '../../audit/events.ts';
import { NightlatchError } from '../../core/errors.ts';
import type { OpenResult } from '../../session/types.ts';
import type { Refusal } from '../../wire/mysql/client-tap.ts';

/** Server error numbers with their SQLSTATE (MySQL 8.0 reference, "Server Error Message Reference") that the gateway uses. */
export const ERROR = {
  dbAccessDenied: { code: 1044, sqlState: '42000' },
  accessDenied: { code: 1045, sqlState: '28000' },
  unknownCommand: { code: 1047, sqlState: '08S01' },
  handshake: { code: 1043, sqlState: '08S01' },
  unknown: { code: 1105, sqlState: 'HY000' },
  tooManyUserConnections: { code: 1203, sqlState: '42000' },
  specificAccessDenied: { code: 1227, sqlState: '42000' },
  secureTransportRequired: { code: 3159, sqlState: 'HY000' },
  serverShutdown: { code: 1053, sqlState: 'HY000' },
  sessionWasKilled: { code: 3169, sqlState: 'HY000' },
  clientInteractionTimeout: { code: 4031, sqlState: 'HY000' },
} as const;

/** The error that goes with the end of a session (SPEC 2.4). */
export function errorOf(cause: EndCause): Omit<Refusal, 'text'> {
  switch (cause) {
    case 'idle':
      return ERROR.clientInteractionTimeout;
    case 'gateway_shutdown':
    case 'target_closed':
      return ERROR.serverShutdown;
    default:
      return ERROR.sessionWasKilled;
  }
}

/** The error that goes with a session that was not opened. */
export function errorOfRefusal(cause: Extract<OpenResult, { ok: false }>['cause']): Omit<Refusal, 'text'> {
  switch (cause) {
    case 'denied':
    case 'locked':
      return ERROR.accessDenied;
    case 'limit':
      return ERROR.tooManyUserConnections;
    case 'draining':
      return ERROR.serverShutdown;
    case 'audit_unavailable':
      return ERROR.unknown;
  }
}

/** The error that goes with what went wrong before the session was usable. */
export function errorOfFailure(error: unknown): Refusal {
  if (!(error instanceof NightlatchError)) return { ...ERROR.unknown, text: 'internal error' };
  const text = error.message;
  switch (error.code) {
    case 'decode':
    case 'protocol':
      return { ...ERROR.handshake, text };
    case 'access_denied':
    case 'unauthenticated':
      return { ...ERROR.accessDenied, text };
    default:
      return { ...ERROR.unknown, text };
  }
}
