import { closeSync, openSync, writeSync } from 'node:fs';
import { errorMessage } from '../core/errors.ts';
import type { Config, ConfigFile } from '../resources/index.ts';
import { type Daemon, startDaemon } from './daemon.ts';
import { createLogger } from './log.ts';
import { systemClock } from './system-clock.ts';

/** On SIGTERM open sessions are told and have so long; a second signal ends them at once. */
const GRACE_MS = 30_000;

export interface RunOptions {
  readonly config: Config;
  readonly configFileName?: string;
  /** Makes the error for what is wrong at a key of the configuration file. */
  readonly configErrorAt?: ConfigFile['errorAt'];
  /** What the configuration's reader warned of. */
  readonly warnings?: readonly string[];
  /** Milliseconds that open sessions get at shutdown. */
  readonly graceMs?: number;
  /** Called when everything listens. */
  readonly onReady?: (daemon: Daemon) => Promise<void> | void;
}

/** Runs the daemon until a signal ends it: SIGTERM and SIGINT drain, a second one cuts; SIGHUP reads certificate and log file again. */
export async function runDaemon({
  config,
  configFileName,
  configErrorAt,
  warnings = [],
  graceMs = GRACE_MS,
  onReady,
}: RunOptions): Promise<void> {
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

  let signals = 0;
  const ended = new Promise<void>((resolve, reject) => {
    const onSignal = (): void => {
      signals += 1;
      if (signals > 1) {
        log.warn('a second signal: ending at once');
        process.exit(1);
      }
      daemon.stop(daemon.context.sessions.list().length === 0 ? 0 : graceMs).then(resolve, reject);
    };
    process.on('SIGTERM', onSignal);
    process.on('SIGINT', onSignal);
  });
  process.on('SIGHUP', () => {
    if (toFile) {
      closeSync(fd);
      fd = open();
    }
    daemon.reload().then(
      () => log.info('the server certificate was read again'),
      (error: unknown) => log.error('the server certificate stays as it was', { error: errorMessage(error) }),
    );
  });
  process.on('uncaughtException', (error) => {
    // One connection's fault must not take everybody's sessions along; what it was is in the log.
    log.error('an error that nobody handled', {
      error: error instanceof Error ? (error.stack ?? error.message) : String(error),
    });
  });
  await onReady?.(daemon);
  await ended;
  if (toFile) closeSync(fd);
}
