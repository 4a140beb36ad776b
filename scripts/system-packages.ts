// `npm test` starts here: installs the Debian packages that the tests drive, or names them and stops.
import { spawnSync } from 'node:child_process';

/** Debian packages by what the tests need them for. */
const PACKAGES = [
  'openssh-client',
  'openssh-server',
  'rsync',
  'git',
  'tmux',
  'openssl',
  'gnutls-bin',
  'curl',
  'libfaketime',
  'postgresql-15',
  'postgresql-client-15',
  'mariadb-server',
  'mariadb-client',
  'redis-server',
  'redis-tools',
  // Kubernetes: real containers for exec, attach and port-forward.
  'containerd',
  'runc',
  'busybox-static',
  // Desktops: a browser, an RDP server with and one without network level authentication, a VNC server, what they show.
  'chromium',
  'xrdp',
  'xorgxrdp',
  'freerdp2-shadow-x11',
  'tigervnc-standalone-server',
  'xterm',
];

// What dpkg-query fills in, not what JavaScript would.
const DPKG_FORMAT = ['$', '{Package} $', '{db:Status-Status}\n'].join('');
const installed = new Set(
  String(spawnSync('dpkg-query', ['-W', '-f', DPKG_FORMAT], { encoding: 'utf8' }).stdout ?? '')
    .split('\n')
    .filter((line) => line.endsWith(' installed'))
    .map((line) => line.split(' ')[0]!.replace(/:.*$/, '')),
);
const missing = PACKAGES.filter((name) => !installed.has(name));

if (missing.length > 0) {
  if (process.getuid?.() !== 0) {
    console.error(
      `The tests need Debian packages that are not installed. As root:\n  apt-get install -y ${missing.join(' ')}`,
    );
    process.exit(1);
  }
  console.log(`installing ${missing.join(' ')}`);
  // A service that a package would start (sshd on port 22, say) must not start: the tests run their own.
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' };
  const apt = (...args: string[]) =>
    spawnSync('apt-get', args, { env, stdio: ['ignore', 'ignore', 'inherit'] }).status === 0;
  if (!(apt('update', '-qq') && apt('install', '-y', '--no-install-recommends', ...missing))) {
    console.error(`apt-get could not install ${missing.join(' ')}`);
    process.exit(1);
  }
}
