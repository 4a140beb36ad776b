// `npm run lockfile`: after `npm install`, adds to package-lock.json the optional packages of other platforms that the registry in use
// did not have. `npm ci` refuses a lock file without them; on this platform they are never fetched.
import { readFileSync, writeFileSync } from 'node:fs';

interface LockedPackage {
  version?: string;
  optional?: boolean;
  dev?: boolean;
  os?: string[];
  cpu?: string[];
  libc?: string[];
  optionalDependencies?: Record<string, string>;
}

const OS = ['aix', 'android', 'darwin', 'freebsd', 'linux', 'netbsd', 'openbsd', 'openharmony', 'sunos', 'win32'];
const CPU = ['arm', 'arm64', 'ia32', 'loong64', 'mips64el', 'ppc64', 'riscv64', 's390x', 'wasm32', 'x64'];
const EXACT = /^\d+\.\d+\.\d+(?:[-+][\w.-]+)?$/;

const lock = JSON.parse(readFileSync('package-lock.json', 'utf8')) as { packages: Record<string, LockedPackage> };
const added: string[] = [];
for (const [path, parent] of Object.entries(lock.packages)) {
  for (const [name, range] of Object.entries(parent.optionalDependencies ?? {})) {
    const nested = `${path}/node_modules/${name}`;
    if (`node_modules/${name}` in lock.packages || nested in lock.packages) continue;
    const version = range.replace(/^[~^]/, '');
    if (!EXACT.test(version)) continue;
    const words = name.split(/[^a-z0-9]+/);
    const os = OS.filter((word) => words.includes(word));
    const cpu = CPU.filter(
      (word) => words.includes(word) || (word === 'arm' && words.includes('arm') && !words.includes('arm64')),
    );
    // One that names no platform would be installed here, too: the registry has it, and npm put it there.
    if (os.length === 0 && cpu.length === 0) continue;
    const libc = words.includes('musl')
      ? ['musl']
      : os.includes('linux') && words.includes('gnu')
        ? ['glibc']
        : undefined;
    lock.packages[`node_modules/${name}`] = {
      version,
      ...(cpu.length > 0 ? { cpu } : {}),
      ...(parent.dev === true ? { dev: true } : {}),
      ...(libc === undefined ? {} : { libc }),
      optional: true,
      ...(os.length > 0 ? { os } : {}),
    };
    added.push(name);
  }
}
const root = lock.packages['']!;
const sorted = Object.fromEntries(
  Object.entries(lock.packages)
    .filter(([path]) => path !== '')
    .sort(([a], [b]) => a.localeCompare(b, 'en')),
);
lock.packages = { '': root, ...sorted };
writeFileSync('package-lock.json', `${JSON.stringify(lock, null, 2)}\n`);
console.log(added.length === 0 ? 'package-lock.json was complete' : `added ${added.join(', ')}`);
