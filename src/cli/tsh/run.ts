import { spawn } from 'node:child_process';
import { accessSync, constants, statSync } from 'node:fs';
import { constants as osConstants } from 'node:os';
import { delimiter, join } from 'node:path';
import { NightlatchError } from '../../core/errors.ts';
import { ExitStatus } from '../common/program.ts';

/** How a program is run in our place. */
export interface RunOptions {
  /** Where the program comes from, for the message that it is not there. */
  readonly hint: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Something has to be done after it has ended: we must stay. */
  readonly stay?: boolean;
}

/**
 * Runs another program in our place: its terminal is ours, signals reach it, and its exit status becomes ours. Where nothing is left to do
 * after it, it replaces this process altogether (execve(2)): it costs no memory beyond its own, and whoever ends it ends it.
 * @throws {ExitStatus} with that status, unless it is 0.
 * @throws {NightlatchError} `not_found` when there is no such program.
 */
export async function runInPlace(program: string, args: readonly string[], options: RunOptions): Promise<void> {
  const path = findProgram(program);
  if (path === undefined) {
    throw new NightlatchError('not_found', `cannot run ${program}: it is not installed (${options.hint})`);
  }
  const env = { ...process.env, ...options.env };
  // Node says by an experimental warning that this may change; the other way below does the same.
  if (options.stay !== true && typeof process.execve === 'function' && process.platform !== 'win32') {
    process.execve(path, [program, ...args], env);
  }
  await runAsChild(path, args, env);
}

/** Where the search path has an executable of that name. */
export function findProgram(name: string): string | undefined {
  if (name.includes('/')) return name;
  for (const dir of (process.env.PATH ?? '').split(delimiter)) {
    const path = join(dir === '' ? '.' : dir, name);
    try {
      accessSync(path, constants.X_OK);
      if (statSync(path).isFile()) return path;
    } catch {
      // Not here.
    }
  }
  return undefined;
}

async function runAsChild(path: string, args: readonly string[], env: NodeJS.ProcessEnv): Promise<void> {
  const child = spawn(path, args, { stdio: 'inherit', env });
  // The terminal sends these to the whole group: the child decides what they mean, and we wait for it.
  const ignored = ['SIGINT', 'SIGQUIT'] as const;
  const forwarded = ['SIGTERM', 'SIGHUP'] as const;
  const ignore = () => {};
  const forward = (signal: NodeJS.Signals) => child.kill(signal);
  for (const signal of ignored) process.on(signal, ignore);
  for (const signal of forwarded) process.on(signal, forward);
  try {
    const status = await new Promise<number>((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', (code, signal) => resolve(signal === null ? code! : 128 + signalNumber(signal)));
    });
    if (status !== 0) throw new ExitStatus(status);
  } finally {
    for (const signal of ignored) process.off(signal, ignore);
    for (const signal of forwarded) process.off(signal, forward);
  }
}

function signalNumber(signal: NodeJS.Signals): number {
  return osConstants.signals[signal];
}
