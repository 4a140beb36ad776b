import { errorMessage, NightlatchError } from '../../core/errors.ts';
import { Secret } from '../../core/secret.ts';
import type { AcceptInvitationRequest, InvitationResponse } from '../../wire/api/messages.ts';
import { formatAddress, parseAddress } from '../common/address.ts';
import { ApiClient } from '../common/api-client.ts';
import { askLine, askNewPassword, isInteractive, readSecret } from '../common/ask.ts';
import { printable } from '../common/output.ts';
import { establishTrust } from './login.ts';
import { ProfileStore } from './profile.ts';

/** A wrong code is asked for again so many times; it spends nothing. */
const WRONG_CODES = 3;

export interface InviteOptions {
  readonly insecure?: boolean;
  readonly caPin?: string;
  readonly passwordFd?: number;
  /** Where the first code comes from; the secret to make it from is printed on standard output. */
  readonly otpFd?: number;
}

/** `tsh invite URL`: an invitation accepted in the terminal. */
export async function invite(url: string, options: InviteOptions): Promise<void> {
  const { host, port, token } = parseInvitation(url);
  const { endpoint } = await establishTrust({ kind: 'tls', host, port }, options, new ProfileStore());
  const api = new ApiClient(endpoint);
  try {
    const invitation = await api.post<InvitationResponse>('/v1/invitations/lookup', { token });
    const user = printable(invitation.user);
    process.stderr.write(`Welcome to ${printable(invitation.clusterName)}, ${user}.\n`);
    const password = await newPassword(options.passwordFd);
    const accept = (otp?: string): Promise<void> => {
      const request: AcceptInvitationRequest = { token, password, ...(otp === undefined ? {} : { otp }) };
      return api.post('/v1/invitations/accept', request);
    };
    if (invitation.otpUri === undefined) await accept();
    else await enrol(invitation.otpUri, options.otpFd, accept);
    process.stdout.write(
      `${invitation.kind === 'reset' ? 'Your password has been set.' : 'Your account is ready.'} Sign in with:\n` +
        `  tsh login --proxy=${formatAddress(host, port)} --user=${user}\n` +
        (invitation.otpUri === undefined
          ? ''
          : 'That sign-in needs the next code of the app: wait until it shows another one.\n'),
    );
  } finally {
    api.close();
  }
}

/** `https://HOST:PORT/web/invite/TOKEN`, or `/web/reset/TOKEN`. */
export function parseInvitation(url: string): { host: string; port: number; token: string } {
  const match = /^(https:\/\/[^/\s]+)\/web\/(?:invite|reset)\/([A-Za-z0-9_-]{1,128})$/.exec(url.trim());
  if (match === null) {
    throw new NightlatchError('bad_parameter', 'this is no invitation; expected https://HOST:PORT/web/invite/…');
  }
  return { ...parseAddress(match[1]!, 443), token: match[2]! };
}

/** The password to set: whether it can be one is said before anything else is asked for. */
async function newPassword(fd: number | undefined): Promise<string> {
  const { checkNewPassword, MIN_PASSWORD_LENGTH } = await import('../../identity/passwords.ts');
  if (fd !== undefined) {
    const password = readSecret(fd, 'password');
    checkNewPassword(new Secret(password));
    return password;
  }
  return askNewPassword(`New password (at least ${MIN_PASSWORD_LENGTH} characters):`, (typed) => {
    try {
      checkNewPassword(new Secret(typed));
      return undefined;
    } catch (error) {
      return errorMessage(error);
    }
  });
}

/** Shows the second factor to enrol, as a code to scan and as text, and asks for the first code it gives, again where it is wrong. */
async function enrol(otpUri: string, fd: number | undefined, accept: (otp: string) => Promise<void>): Promise<void> {
  if (fd !== undefined) {
    process.stdout.write(`${printable(otpUri)}\n`);
    return accept(readSecret(fd, 'one-time code'));
  }
  const secret = printable(new URL(otpUri).searchParams.get('secret') ?? '');
  if (isInteractive()) {
    const { renderUnicodeCompact } = await import('uqr');
    const code = renderUnicodeCompact(otpUri);
    process.stderr.write(`\nScan this with an authenticator app:\n\n${code}\n\nor type in its secret: ${secret}\n\n`);
  }
  for (let left = WRONG_CODES; ; left--) {
    const code = await askLine('Code that the app shows:', 'one-time code', 'pass it with --otp-fd');
    try {
      return await accept(code.replaceAll(' ', ''));
    } catch (error) {
      const wrong = error instanceof NightlatchError && error.code === 'bad_parameter';
      if (!wrong || left === 0) throw error;
      process.stderr.write(`${printable(error.message)}\n`);
    }
  }
}
