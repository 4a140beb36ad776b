import type { KeepPasswordRequest, KeptLoginsResponse } from '../../wire/api/messages.ts';
import type { ApiClient } from '../common/api-client.ts';
import { askNewPassword, readSecret } from '../common/ask.ts';
import { formatTable, quoted } from '../common/output.ts';
import type { TextOrJson } from './users.ts';

const PATH = '/v1/desktop-passwords';

/** `tctl desktop password set`. */
export async function keepPassword(
  api: ApiClient,
  desktop: string,
  { login, passwordFd }: { login: string; passwordFd?: number },
): Promise<void> {
  const password = passwordFd === undefined ? await askNewPassword() : readSecret(passwordFd, 'password');
  const request: KeepPasswordRequest = { desktop, login, password };
  await api.post(PATH, request);
  process.stdout.write(`The password of ${quoted(login)} on desktop ${quoted(desktop)} is kept.\n`);
}

/** `tctl desktop password rm`. */
export async function forgetPassword(api: ApiClient, desktop: string, login: string): Promise<void> {
  await api.delete(`${PATH}/${encodeURIComponent(desktop)}/${encodeURIComponent(login)}`);
  process.stdout.write(`The password of ${quoted(login)} on desktop ${quoted(desktop)} is forgotten.\n`);
}

/** `tctl desktop password ls`. */
export async function listPasswords(api: ApiClient, format: TextOrJson): Promise<void> {
  const { items } = await api.get<KeptLoginsResponse>(PATH);
  if (format === 'json') {
    process.stdout.write(`${JSON.stringify(items, null, 4)}\n`);
    return;
  }
  if (items.length === 0) {
    process.stdout.write('No passwords are kept\n');
    return;
  }
  const rows = items.map(({ desktop, login }) => [desktop, login]);
  process.stdout.write(await formatTable(['Desktop', 'Login'], rows));
}
