// Runs after `npm ci` and after an installation of the published package, under whatever Node runs npm.
// ssh2's native addon (packet ciphers) must be built for the Node that Nightlatch runs on, which the
// package pins: where npm's own Node differs, build the addon again against the pinned Node's headers.
// The addon in native/ (TLS records) is built likewise.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Beside an addon that was built by this script. */
const MARKER = 'built-for-nightlatch';
const root = dirname(dirname(fileURLToPath(import.meta.url)));
const require = createRequire(join(root, 'package.json'));

/** Directory of an installed package, or undefined where it is not there (another platform). */
function packageDir(name) {
  try {
    return dirname(require.resolve(`${name}/package.json`));
  } catch {
    return undefined;
  }
}

const pinned = packageDir(`node-${process.platform}-${process.arch}`);
const node = pinned === undefined ? process.execPath : join(pinned, 'bin', 'node');
/** The pinned Node's headers; without them node-gyp would fetch others. */
const headers = pinned !== undefined && existsSync(join(pinned, 'include', 'node')) ? pinned : undefined;

/** Whether an addon was built here and loads in the Node that will run it. No other is used. */
function loads(addon) {
  if (!existsSync(join(dirname(addon), MARKER)) || !existsSync(addon)) return false;
  return spawnSync(node, ['-e', 'require(process.argv[1])', addon]).status === 0;
}

/** node-gyp as npm brings it along: beside npm's own entry point. */
function nodeGyp() {
  const npmCli =
    process.env.npm_execpath ?? join(dirname(dirname(process.execPath)), 'lib/node_modules/npm/bin/npm-cli.js');
  const path = join(dirname(dirname(npmCli)), 'node_modules/node-gyp/bin/node-gyp.js');
  return existsSync(path) ? path : undefined;
}

/** Builds the addon in `cwd`, unless it is there and no older than `source`; what goes on without it is said in `without`. */
function build(cwd, { name, addon, source, args = [], env = {}, prepare, without }) {
  const path = join(cwd, 'build/Release', addon);
  const stale =
    source !== undefined && existsSync(path) && statSync(path).mtimeMs < statSync(join(cwd, source)).mtimeMs;
  if (!stale && loads(path)) return;
  rmSync(join(cwd, 'build'), { recursive: true, force: true });
  prepare?.();
  const gyp = nodeGyp();
  // node-gyp may be newer than the Node that runs npm, and older than the pinned one: the pinned one runs it.
  const options = {
    cwd,
    env: { ...process.env, ...(headers === undefined ? {} : { npm_config_nodedir: headers }), ...env },
    encoding: 'utf8',
  };
  const built = gyp === undefined ? undefined : spawnSync(node, [gyp, 'rebuild', ...args], options);
  if (existsSync(path)) writeFileSync(join(dirname(path), MARKER), '');
  if (loads(path)) return;
  const why =
    built === undefined
      ? 'node-gyp was not found beside npm'
      : String(built.stderr ?? '')
          .trim()
          .split('\n')
          .slice(-4)
          .join('\n');
  console.warn(`nightlatch: ${name} could not be built (it needs python3, make and g++); ${without}.\n${why}`);
}

/**
 * Node 24.19 and 24.20 abort the process when an object of an addon is collected, if the addon was built with their
 * `node::ObjectWrap` (nodejs/node issue 65446). A copy of that header without the hooks, as before, takes its place.
 */
function writeHeaderWithoutHooks(dir) {
  const original = readFileSync(join(headers, 'include', 'node', 'node_object_wrap.h'), 'utf8');
  mkdirSync(dir, { recursive: true });
  const path = join(dir, 'node_object_wrap.h');
  writeFileSync(path, original.replace(/^ {4}(?:Add|Remove)CleanupHook\(\);$/gm, ''));
}

if (existsSync(node)) {
  const ssh2 = packageDir('ssh2');
  if (ssh2 !== undefined) {
    const cwd = join(ssh2, 'lib/protocol/crypto');
    // The addon's sources take another path by OpenSSL's version, which ssh2's own install script passes likewise;
    // built without it, the second ChaCha20 packet fails.
    const version = spawnSync(node, ['-p', 'process.versions.openssl.split(".")[0]'], { encoding: 'utf8' });
    build(cwd, {
      name: "ssh2's native addon",
      addon: 'sshcrypto.node',
      args: [`--real_openssl_major=${version.stdout.trim()}`],
      // Relative to `build`, where make runs: a path with blanks in it would fall apart.
      ...(headers === undefined
        ? {}
        : {
            prepare: () => writeHeaderWithoutHooks(join(cwd, 'header')),
            env: { CXXFLAGS: '-include ../header/node_object_wrap.h' },
          }),
      without: 'SSH works without it, at about twice the CPU',
    });
  }
  build(join(root, 'native'), {
    name: 'the addon for TLS records',
    addon: 'tlsrecord.node',
    source: 'tls-record.c',
    without: 'TLS works without it, with about twice the memory and CPU',
  });
}
