import assert from 'node:assert/strict';
import { test } from 'node:test';

test('an older Node hands over the descriptors that the command line names for secrets, and no others', async () => {
  const launch = new URL('../../bin/launch.js', import.meta.url).href;
  const { inherited } = (await import(launch)) as { inherited(args: readonly string[]): (number | 'ignore')[] };
  assert.deepEqual(inherited(['node', 'tsh', 'login']), [0, 1, 2]);
  assert.deepEqual(inherited(['tsh', '--password-fd', '4', '--otp-fd=3']), [0, 1, 2, 3, 4]);
  assert.deepEqual(inherited(['tsh', '--password-fd=5']), [0, 1, 2, 'ignore', 'ignore', 5]);
  assert.deepEqual(inherited(['tsh', '--password-fd', '0', '--otp-fd', 'x', '--password-fd=999999']), [0, 1, 2]);
});
