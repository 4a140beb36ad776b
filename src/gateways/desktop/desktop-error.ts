import { type ErrorCode, NightlatchError } from '../../core/errors.ts';
import type { DesktopProblem } from './control-messages.ts';

const CODES: Readonly<Record<DesktopProblem, ErrorCode>> = {
  denied: 'access_denied',
  password_required: 'unauthenticated',
  password_wrong: 'unauthenticated',
  unreachable: 'unavailable',
  untrusted: 'unavailable',
  unsupported: 'protocol',
  failed: 'protocol',
};

/** Why a desktop could not be opened, in a form the page can act on; the message is for its user. */
export class DesktopError extends NightlatchError {
  readonly problem: DesktopProblem;

  constructor(problem: DesktopProblem, message: string, options?: ErrorOptions) {
    super(CODES[problem], message, options);
    this.problem = problem;
  }
}
