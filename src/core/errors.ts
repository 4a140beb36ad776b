/** Every way an operation can be refused or go wrong. Gateways and the API map these to SQLSTATE, HTTP and the like. */
export type ErrorCode =
  | 'access_denied'
  | 'already_exists'
  | 'audit_unavailable'
  | 'bad_parameter'
  | 'cancelled'
  | 'conflict'
  | 'decode'
  | 'internal'
  | 'limit_exceeded'
  | 'not_found'
  | 'protocol'
  | 'timeout'
  | 'too_large'
  | 'unauthenticated'
  | 'unavailable';

/** The base of every error this program throws on purpose. The message is written for the person who reads it. */
export class NightlatchError extends Error {
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
  }
}

/** Bytes that are not what their specification says; the only error a codec in wire/ throws. */
export class DecodeError extends NightlatchError {
  constructor(message: string, options?: ErrorOptions) {
    super('decode', message, options);
  }
}

/** The message of whatever was thrown. */
export function errorMessage(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
