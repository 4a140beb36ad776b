import { Command, CommanderError, Help, InvalidArgumentError } from 'commander';
import { errorMessage } from '../../core/errors.ts';
import { printableLines } from './output.ts';

/** Ends the program with a status of its own choosing, e.g. that of the `ssh` it ran; prints nothing. */
export class ExitStatus extends Error {
  readonly status: number;

  constructor(status: number) {
    super(`exit status ${status}`);
    this.status = status;
  }
}

/** `--version` was met: nothing else is done. */
class VersionAsked extends Error {}

/** Returns the exit status. */
async function printVersion(): Promise<number> {
  const { versionLine } = await import('./version.ts');
  process.stdout.write(`${versionLine()}\n`);
  return 0;
}

/** A command whose errors look as Teleport's: `ERROR: …` on standard error, exit status 1. */
export function createCommand(name: string, description: string): Command {
  return (
    new Command(name)
      .description(description)
      .showHelpAfterError(`(try ${name} --help)`)
      .helpCommand('help [command]', 'Show help for a command.')
      .helpOption('-h, --help', 'Show help.')
      .option('--version', 'Print the version.')
      .on('option:version', () => {
        throw new VersionAsked();
      })
      // That a flag is off without it goes without saying.
      .configureHelp({
        optionDescription: (option) => new Help().optionDescription(option).replace(/ \(default: false\)$/, ''),
      })
      .configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, 'ERROR: ')) })
      .exitOverride()
  );
}

/**
 * Parses the command line, runs what it says and sets the process's exit status. Never rejects. A reader that goes away (`tctl get all | head`)
 * ends the program in silence. Standard output is not touched here: a program that replaces us is to find it as it was.
 */
export async function runProgram(program: Command, argv: readonly string[] = process.argv): Promise<void> {
  process.on('uncaughtException', (error) => {
    // The daemon has a handler of its own, and goes on.
    if (process.listenerCount('uncaughtException') === 1) process.exit(report(error));
  });
  try {
    await program.parseAsync([...argv]);
  } catch (error) {
    process.exitCode = error instanceof VersionAsked ? await printVersion() : report(error);
  }
}

/** Prints what was thrown, where there is something to say; returns the exit status. */
export function report(error: unknown): number {
  if (error instanceof ExitStatus) return error.status;
  if (error instanceof CommanderError) return error.exitCode;
  if (isBrokenPipe(error)) return 0;
  process.stderr.write(`ERROR: ${printableLines(errorMessage(error))}\n`);
  if (process.env.NIGHTLATCH_DEBUG && error instanceof Error) process.stderr.write(`${error.stack}\n`);
  return 1;
}

/** `tctl get all | head`: the reader has gone, which is no error. */
function isBrokenPipe(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'EPIPE';
}

/** A value for an option that must be one of a few words. */
export function oneOf<const T extends string>(...allowed: readonly T[]): (value: string) => T {
  return (value) => {
    const found = allowed.find((word) => word === value);
    if (found === undefined) throw new InvalidArgumentError(`It must be one of ${allowed.join(', ')}.`);
    return found;
  };
}

/** A file descriptor or other whole number from the command line. */
export function wholeNumber(value: string): number {
  if (!/^\d{1,9}$/.test(value)) throw new InvalidArgumentError('It must be a whole number.');
  return Number(value);
}

/** Splits `a,b,c`; empty parts are dropped. */
export function commaList(value: string): string[] {
  return value
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '');
}
