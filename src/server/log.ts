import { inspect } from 'node:util';
import type { LogFields, Logger } from '../core/logger.ts';

/** Least severe first, as `teleport.log.severity` names them. */
export const SEVERITIES = ['debug', 'info', 'warn', 'error'] as const;
export type Severity = (typeof SEVERITIES)[number];

/** Whatever comes from outside stands in one line: control characters are escaped. */
function printable(text: string): string {
  return text.replace(/[\u0000-\u001f\u007f-\u009f]/g, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`);
}

function fieldText(value: unknown): string {
  if (typeof value === 'string') return /^[\w.:/@+-]+$/.test(value) ? value : JSON.stringify(value);
  return inspect(value, { breakLength: Number.POSITIVE_INFINITY, depth: 3 });
}

/** A logger that writes lines of text or JSON. `write` gets each whole line. */
export function createLogger(options: {
  severity: Severity;
  format: 'text' | 'json';
  wallMs: () => number;
  write: (line: string) => void;
}): Logger {
  const least = SEVERITIES.indexOf(options.severity);
  const at = (severity: Severity) => (message: string, fields?: LogFields) => {
    if (SEVERITIES.indexOf(severity) < least) return;
    const time = new Date(options.wallMs()).toISOString();
    if (options.format === 'json') {
      options.write(`${JSON.stringify({ time, level: severity, message, ...fields })}\n`);
      return;
    }
    const rest = Object.entries(fields ?? {}).map(([key, value]) => ` ${key}:${fieldText(value)}`);
    options.write(`${time} ${severity.toUpperCase().padEnd(5)} ${printable(message + rest.join(''))}\n`);
  };
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}
