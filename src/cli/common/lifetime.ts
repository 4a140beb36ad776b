import { errorMessage, NightlatchError } from '../../core/errors.ts';
import { formatDuration, parseDuration } from '../../resources/duration.ts';

/** Certificates are good for full seconds, and clocks differ: less than this is no shortening. */
const TOLERANCE_MS = 60_000;

/** Says so when certificates last less long than was asked for. */
export function warnIfShorter(wantedMs: number, expiresAtMs: number): void {
  const givenMs = Math.round((expiresAtMs - Date.now()) / 1000) * 1000;
  if (givenMs >= wantedMs - TOLERANCE_MS) return;
  process.stderr.write(
    `WARNING: the certificates last ${formatDuration(Math.max(0, givenMs))}, which is as long as the roles and the cluster allow.\n`,
  );
}

/** A duration that an option was given, in milliseconds. @throws {NightlatchError} `bad_parameter`, which names the option. */
export function parseDurationOption(option: string, text: string): number {
  try {
    return parseDuration(text);
  } catch (cause) {
    throw new NightlatchError('bad_parameter', `${option}: ${errorMessage(cause).replace(/^time: /, '')}`, { cause });
  }
}
