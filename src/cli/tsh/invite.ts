import { NightlatchError } from '../../core/errors.ts';
import type { AcceptInvitationRequest, InvitationResponse } from '../../wire/api/messages.ts';
import { formatAddress, parseAddress } from '../common/address.ts';
import { ApiClient } from '../common/api-client.ts';
import { askLine, askNewPassword, isInteractive, readSecret } from '../common/ask.ts';
import { printable } from '../common/output.ts';
import { establishTrust } from './login.ts';
import { ProfileStore } from './profile.ts';

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
    const password =
      options.passwordFd === undefined ? await askNewPassword() : readSecret(options.passwordFd, 'password');
    const otp = invitation.otpUri === undefined ? undefined : await enrol(invitation.otpUri, options.otpFd);
    const request: AcceptInvitationRequest = { token, password, ...(otp === undefined ? {} : { otp }) };
    await api.post('/v1/invitations/accept', request);
    process.stdout.write(
      `${invitation.kind === 'reset' ? 'Your password has been set.' : 'Your account is ready.'} Sign in with:\n` +
        `  tsh login --proxy=${formatAddress(host, port)} --user=${user}\n`,
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

/** Shows the second factor to enrol, as a code to scan and as text, and asks for the first code it gives. */
async function enrol(otpUri: string, fd: number | undefined): Promise<string> {
  if (fd !== undefined) {
    process.stdout.write(`${printable(otpUri)}\n`);
    return readSecret(fd, 'one-time code');
  }
  const secret = printable(new URL(otpUri).searchParams.get('secret') ?? '');
  if (isInteractive()) {
    const { renderUnicodeCompact } = await import('uqr');
    const code = renderUnicodeCompact(otpUri);
    process.stderr.write(`\nScan this with an authenticator app:\n\n${code}\n\nor type in its secret: ${secret}\n\n`);
  }
  const code = await askLine('Code that the app shows:', 'one-time code', 'pass it with --otp-fd');
  return code.replaceAll(' ', '');
}
