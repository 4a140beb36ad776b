/** Values of a log line; secrets are `Secret`s, query texts and key presses never come here. */
export type LogFields = Readonly<Record<string, unknown>>;

/** The operator's log, as the layers below server/ see it. */
export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
}
