// A process that writes to the store until it is killed, and says on stdout what has been acknowledged. Arguments: the file, the first
// number, how many at most. Every number is a record, every tenth also a resource and the removal of an older one.
import { writeSync } from 'node:fs';
import { openSqliteStore } from '../../src/store/sqlite-store.ts';

const [path, first, count] = process.argv.slice(2);
const silent = { debug() {}, info() {}, warn() {}, error() {} };
const origin = Date.now() - performance.now();
const clock = {
  now: () => performance.now(),
  wallMs: () => origin + performance.now(),
  at(atMs: number, fn: () => void) {
    const timer = setTimeout(fn, Math.max(0, Math.ceil(atMs - performance.now())));
    return { cancel: () => clearTimeout(timer) };
  },
};

const store = await openSqliteStore({ path: path!, clock, log: silent });
writeSync(1, 'open\n');
const last = Number(first) + Number(count);
for (let n = Number(first); n < last; n++) {
  await store.putRecord('numbers', String(n), new TextEncoder().encode(`value of ${n} `.repeat(1 + (n % 50))));
  if (n % 10 === 0) {
    const { revision } = await store.put('role', `role-${n}`, { n }, { condition: 'absent' });
    if (n >= 1000) await store.delete('role', `role-${n - 1000}`);
    writeSync(1, `resource ${n} ${revision}\n`);
  }
  writeSync(1, `record ${n}\n`);
}
// Stays with the file open: what ends this process is a kill.
setInterval(() => {}, 1_000);
