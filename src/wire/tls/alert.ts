import { NightlatchError } from '../../core/errors.ts';

/** Alerts that are sent or understood here (RFC 8446 section 6). */
export const ALERT = {
  closeNotify: 0,
  unexpectedMessage: 10,
  badRecordMac: 20,
  recordOverflow: 22,
  illegalParameter: 47,
  decodeError: 50,
  internalError: 80,
  userCanceled: 90,
} as const;

/** The other end broke the record protocol; it is told by an alert, and the connection ends. */
export class TlsAlertError extends NightlatchError {
  /** AlertDescription to send, or undefined where the other end sent one. */
  readonly alert: number | undefined;

  constructor(alert: number | undefined, message: string) {
    super('protocol', message);
    this.alert = alert;
  }
}
