import { existsSync } from 'node:fs';
import module, { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

const MIN_NODE_MAJOR = 24;

/**
 * Runs one of the three programs: from the TypeScript sources in a checkout, from dist/ in an installed
 * package. An older Node (`npm install --global` under Debian's own) hands over to the pinned one.
 *
 * @param {'nightlatch' | 'tctl' | 'tsh'} program
 */
export async function launch(program) {
  if (Number(process.versions.node.split('.')[0]) < MIN_NODE_MAJOR) return handOver();
  // Named imports would fail in the older Node that hands over.
  module.enableCompileCache();
  const source = new URL(`../src/cli/${program}.ts`, import.meta.url);
  const compiled = new URL(`../dist/cli/${program}.js`, import.meta.url);
  await import((existsSync(source) ? source : compiled).href);
}

/** Runs the same command line under the pinned Node, passing signals and the exit status through. */
async function handOver() {
  const { spawn } = await import('node:child_process');
  const require = createRequire(import.meta.url);
  let node;
  try {
    node = fileURLToPath(
      new URL('bin/node', `file://${require.resolve(`node-${process.platform}-${process.arch}/package.json`)}`),
    );
  } catch {
    console.error(
      `nightlatch needs Node ${MIN_NODE_MAJOR} or newer; this is ${process.version}, and no pinned Node was installed with the package`,
    );
    process.exit(1);
  }
  const child = spawn(node, process.argv.slice(1), { stdio: inherited(process.argv) });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT']) process.on(signal, () => child.kill(signal));
  child.on('exit', (code, signal) => {
    if (signal === null) process.exit(code);
    for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT']) process.removeAllListeners(name);
    process.kill(process.pid, signal);
  });
}

/**
 * What the pinned Node gets: the standard streams, and the descriptors that the command line names for secrets, under their own numbers.
 *
 * @param {readonly string[]} args
 * @returns {(number | 'ignore')[]}
 */
export function inherited(args) {
  const stdio = [0, 1, 2];
  args.forEach((arg, at) => {
    const option = /^--(?:password|otp)-fd(?:=(.*))?$/.exec(arg);
    const fd = option === null ? 0 : Number(option[1] ?? args[at + 1]);
    if (!Number.isInteger(fd) || fd < 3 || fd > 255) return;
    while (stdio.length <= fd) stdio.push('ignore');
    stdio[fd] = fd;
  });
  return stdio;
}
