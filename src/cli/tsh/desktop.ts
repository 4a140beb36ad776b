import { spawn } from 'node:child_process';
import { NightlatchError } from '../../core/errors.ts';
import type { TicketResponse } from '../../wire/api/messages.ts';
import { formatAddress } from '../common/address.ts';
import { printable, quoted } from '../common/output.ts';
import { fetchTargets } from '../common/targets.ts';
import { type GlobalOptions, withApi } from './sign-in.ts';

/** `tsh desktop open`: the desktop in the browser, which is signed in by a ticket that is good once. */
export async function openDesktop(
  globals: GlobalOptions,
  name: string,
  options: { login?: string; print: boolean },
): Promise<void> {
  const address = await withApi(globals, async (api, signIn) => {
    const desktop = (await fetchTargets(api, 'desktops')).find((one) => one.name === name);
    if (desktop === undefined) {
      throw new NightlatchError(
        'not_found',
        `desktop ${quoted(name)} not found, use 'tsh desktop ls' to see registered desktops`,
      );
    }
    if (desktop.logins.length === 0) {
      throw new NightlatchError('access_denied', `your roles allow no login on ${printable(name)}`);
    }
    const [only, ...others] = desktop.logins;
    const login = options.login ?? (others.length === 0 ? only : undefined);
    if (login === undefined) {
      const allowed = desktop.logins.map(printable).join(', ');
      throw new NightlatchError('bad_parameter', `please say as whom, with --login (allowed: ${allowed})`);
    }
    const { ticket } = await api.post<TicketResponse>('/v1/tickets', {});
    const to = `/desktop/${encodeURIComponent(name)}/${encodeURIComponent(login)}`;
    const { host, port } = signIn.profile;
    // Behind the `#`: no server and no log sees it.
    return `https://${formatAddress(host, port)}/web/ticket#${new URLSearchParams({ ticket, to })}`;
  });
  if (options.print) process.stdout.write(`${address}\n`);
  else await openBrowser(address);
}

/** Hands an address to the desktop environment's browser. */
async function openBrowser(address: string): Promise<void> {
  const program = process.platform === 'darwin' ? 'open' : 'xdg-open';
  const child = spawn(program, [address], { stdio: 'ignore', detached: true });
  await new Promise<void>((resolve, reject) => {
    child.once('spawn', resolve);
    child.once('error', (cause) =>
      reject(
        new NightlatchError(
          'unavailable',
          `cannot open a browser (${program}): ${cause.message}; --print shows the address`,
          { cause },
        ),
      ),
    );
  });
  child.unref();
}
