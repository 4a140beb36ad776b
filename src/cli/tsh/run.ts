import { spawn } from 'node:child_process';
import { NightlatchError } from '../../core/errors.ts';
import { ExitStatus } from '../common/program.ts';

/**
 * Runs another program in our place: its terminal is ours, signals reach it, and its exit status becomes ours.
 * @throws {ExitStatus} with that status, unless it is 0.
 * @throws {NightlatchError} `not_found` when there is no such program; `hint` says where it comes from.
 */
export async function runInPlace(
  program: string,
  args: readonly string[],
  options: { hint: string; env?: NodeJS.ProcessEnv },
): Promise<void> {
  const child = spawn(program, args, { stdio: 'inherit', ...(options.env === undefined ? {} : { env: options.env }) });
  // The terminal sends its signals to the whole group: the child decides what they mean, and we wait for it.
  const ignored = ['SIGINT', 'SIGQUIT', 'SIGTSTP'] as const;
  const forwarded = ['SIGTERM', 'SIGHUP'] as const;
  const ignore = () => {};
  const forward = (signal: NodeJS.Signals) => child.kill(signal);
  for (const signal of ignored.slice(0, 2)) process.on(signal, ignore);
  for (const signal of forwarded) process.on(signal, forward);
  try {
    const status = await new Promise<number>((resolve, reject) => {
      child.once('error', (error: NodeJS.ErrnoException) =>
        reject(
          error.code === 'ENOENT'
            ? new NightlatchError('not_found', `cannot run ${program}: it is not installed (${options.hint})`, {
                cause: error,
              })
            : error,
        ),
      );
      child.once('exit', (code, signal) => resolve(signal === null ? code! : 128 + signalNumber(signal)));
    });
    if (status !== 0) throw new ExitStatus(status);
  } finally {
    for (const signal of ignored) process.off(signal, ignore);
    for (const signal of forwarded) process.off(signal, forward);
  }
}

function signalNumber(signal: NodeJS.Signals): number {
  const numbers: Partial<Record<NodeJS.Signals, number>> = {
    SIGHUP: 1,
    SIGINT: 2,
    SIGQUIT: 3,
    SIGKILL: 9,
    SIGPIPE: 13,
    SIGTERM: 15,
  };
  return numbers[signal] ?? 0;
}
