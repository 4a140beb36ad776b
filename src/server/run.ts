import { once } from 'node:events';
import { closeSync, openSync, writeSync } from 'node:fs';
import { errorMessage } from '../core/errors.ts';
import type { Config, ConfigFile } from '../resources/index.ts';
import { type Daemon, startDaemon } from './daemon.ts';
import { createLogger } from './log.ts';
import { systemClock } from './system-clock.ts';

/** On SIGTERM open sessions are told and have so long; a second signal ends them at once. */
const GRACE_MS = 30_000;
/** A terminal gives one Ctrl-C to all its programs, and those that started us (npm, a launcher) pass theirs on: signals this close are one. */
const SAME_SIGNAL_MS = 1_000;

export interface RunOptions {
  readonly config: Config;
  readonly configFileName?: string;
  /** Makes the error for what is wrong at a key of the configuration file. */
  readonly configErrorAt?: ConfigFile['errorAt'];
  /** What the configuration's reader warned of. */
  readonly warnings?: readonly string[];
  /** Milliseconds that open sessions get at shutdown. */
  readonly graceMs?: number;
  /** Whether SIGHUP has the certificate and the log file read again, as a service does, or ends it, as a program in a terminal that is closed. */
  readonly onHangup?: 'reload' | 'end';
  /** Called when everything listens. `ending` is aborted at the first signal; the daemon stops once this has returned. */
  readonly onReady?: (daemon: Daemon, ending: AbortSignal) => Promise<void> | void;
}

/**
 * Runs the daemon until a signal ends it: SIGTERM and SIGINT drain, a second one ends open sessions at once.
 * @returns false when a third one cut that short: what is still open ends with the process, which the caller has to end.
 */
export async function runDaemon({
  config,
  configFileName,
  configErrorAt,
  warnings = [],
  graceMs = GRACE_MS,
  onHangup = 'reload',
  onReady,
}: RunOptions): Promise<boolean> {
  const { severity, format, output } = config.teleport.log;
  const toFile = output !== 'stderr' && output !== 'stdout';
  const open = (): number => (toFile ? openSync(output, 'a', 0o600) : output === 'stdout' ? 1 : 2);
  let fd = open();
  const write = (line: string): void => {
    try {
      writeSync(fd, line);
    } catch {
      // A log that cannot be written (a full disk, a closed pipe) ends no session.
    }
  };
  const log = createLogger({ severity, format: format.output, wallMs: systemClock.wallMs, write });
  for (const warning of warnings) log.warn(warning);
  const daemon = await startDaemon({
    config,
    ...(configFileName === undefined ? {} : { configFileName }),
    ...(configErrorAt === undefined ? {} : { configErrorAt }),
    clock: systemClock,
    log,
  });

  const ending = new AbortController();
  const first = once(ending.signal, 'abort');
  let signals = 0;
  let lastSignalMs = Number.NEGATIVE_INFINITY;
  const cut = new Promise<false>((resolve) => {
    const onSignal = (): void => {
      const nowMs = systemClock.now();
      const same = nowMs - lastSignalMs < SAME_SIGNAL_MS;
      lastSignalMs = nowMs;
      if (same) return;
      signals += 1;
      if (signals === 1) ending.abort();
      else if (signals === 2) {
        log.warn('a second signal: open sessions end at once');
        void daemon.context.sessions.drain(0);
      } else {
        log.warn('a third signal: nothing is waited for');
        resolve(false);
      }
    };
    for (const signal of ['SIGTERM', 'SIGINT', ...(onHangup === 'end' ? ['SIGHUP'] : [])]) process.on(signal, onSignal);
  });
  const reload = (): void => {
    if (toFile) {
      closeSync(fd);
      fd = open();
    }
    daemon.reload().then(
      () => log.info('the server certificate was read again'),
      (error: unknown) => log.error('the server certificate stays as it was', { error: errorMessage(error) }),
    );
  };
  if (onHangup === 'reload') process.on('SIGHUP', reload);
  process.on('uncaughtException', (error) => {
    // One connection's fault must not take everybody's sessions along; what it was is in the log.
    log.error('an error that nobody handled', {
      error: error instanceof Error ? (error.stack ?? error.message) : String(error),
    });
  });
  const drained = async (): Promise<true> => {
    await onReady?.(daemon, ending.signal);
    await first;
    await daemon.stop(daemon.context.sessions.list().length === 0 ? 0 : graceMs);
    return true;
  };
  const all = await Promise.race([drained(), cut]);
  if (toFile) closeSync(fd);
  return all;
}
