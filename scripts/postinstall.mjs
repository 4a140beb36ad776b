// Runs after `npm ci` and after an installation of the published package, under whatever Node runs npm.
// ssh2's native addon (packet ciphers) must be built for the Node that Nightlatch runs on, which the
// package pins: where npm's own Node differs, build the addon again against the pinned Node's headers.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
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
const ssh2 = packageDir('ssh2');
const node = pinned === undefined ? process.execPath : join(pinned, 'bin', 'node');

/** Whether the addon was built here and loads in the Node that will run it. The SSH gateway uses no other. */
function addonLoads() {
  const release = join(ssh2, 'lib/protocol/crypto/build/Release');
  const addon = join(release, 'sshcrypto.node');
  if (!existsSync(join(release, MARKER)) || !existsSync(addon)) return false;
  return spawnSync(node, ['-e', 'require(process.argv[1])', addon]).status === 0;
}

/**
 * Node 24.19 and 24.20 abort the process when an object of an addon is collected, if the addon was built with their
 * `node::ObjectWrap` (nodejs/node issue 65446). A copy of that header without the hooks, as before, takes its place.
 */
function writeHeaderWithoutHooks(include, dir) {
  const original = readFileSync(join(include, 'node_object_wrap.h'), 'utf8');
  mkdirSync(dir, { recursive: true });
  const path = join(dir, 'node_object_wrap.h');
  writeFileSync(path, original.replace(/^ {4}(?:Add|Remove)CleanupHook\(\);$/gm, ''));
}

/** node-gyp as npm brings it along: beside npm's own entry point. */
function nodeGyp() {
  const npmCli =
    process.env.npm_execpath ?? join(dirname(dirname(process.execPath)), 'lib/node_modules/npm/bin/npm-cli.js');
  const path = join(dirname(dirname(npmCli)), 'node_modules/node-gyp/bin/node-gyp.js');
  return existsSync(path) ? path : undefined;
}

if (ssh2 !== undefined && existsSync(node) && !addonLoads()) {
  const env = { ...process.env };
  const cwd = join(ssh2, 'lib/protocol/crypto');
  rmSync(join(cwd, 'build'), { recursive: true, force: true });
  if (pinned !== undefined && existsSync(join(pinned, 'include', 'node'))) {
    env.npm_config_nodedir = pinned;
    writeHeaderWithoutHooks(join(pinned, 'include', 'node'), join(cwd, 'header'));
    // Relative to `build`, where make runs: a path with blanks in it would fall apart.
    env.CXXFLAGS = '-include ../header/node_object_wrap.h';
  }
  const gyp = nodeGyp();
  // node-gyp may be newer than the Node that runs npm, and older than the pinned one: the pinned one runs it.
  // The addon's sources take another path by OpenSSL's version, which ssh2's own install script passes likewise;
  // built without it, the second ChaCha20 packet fails.
  const openssl = spawnSync(node, ['-p', 'process.versions.openssl.split(".")[0]'], { encoding: 'utf8' }).stdout.trim();
  const args = [gyp, 'rebuild', `--real_openssl_major=${openssl}`];
  const built = gyp === undefined ? undefined : spawnSync(node, args, { cwd, env, encoding: 'utf8' });
  const release = join(cwd, 'build/Release');
  if (existsSync(join(release, 'sshcrypto.node'))) writeFileSync(join(release, MARKER), '');
  if (!addonLoads()) {
    const why =
      built === undefined
        ? 'node-gyp was not found beside npm'
        : String(built.stderr ?? '')
            .trim()
            .split('\n')
            .slice(-4)
            .join('\n');
    console.warn(
      `nightlatch: ssh2's native addon could not be built (it needs python3, make and g++); SSH works without it, at about twice the CPU.\n${why}`,
    );
  }
}
