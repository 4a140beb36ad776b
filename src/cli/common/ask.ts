import { fstatSync, readFileSync } from 'node:fs';
import { errorMessage, NightlatchError } from '../../core/errors.ts';

/** Longest secret read from a file descriptor. */
const MAX_SECRET_BYTES = 4096;

/**
 * A secret from a file descriptor, up to the end or the first line break: the way for automation, since arguments and the
 * environment show in the list of processes.
 */
export function readSecret(fd: number, what: string): string {
  let text: string;
  try {
    fstatSync(fd);
    text = readFileSync(fd, 'utf8');
  } catch (cause) {
    throw new NightlatchError(
      'bad_parameter',
      `cannot read the ${what} from file descriptor ${fd}: ${errorMessage(cause)}`,
      { cause },
    );
  }
  const secret = text.split(/\r?\n/)[0]!;
  if (secret === '') throw new NightlatchError('bad_parameter', `file descriptor ${fd} holds no ${what}`);
  if (secret.length > MAX_SECRET_BYTES) throw new NightlatchError('bad_parameter', `the ${what} is too long`);
  return secret;
}

/** Whether somebody is there to be asked. */
export function isInteractive(): boolean {
  return process.stdin.isTTY === true && process.stderr.isTTY === true;
}

function requireTerminal(what: string, instead: string): void {
  if (!isInteractive())
    throw new NightlatchError('bad_parameter', `there is no terminal to ask for the ${what}; ${instead}`);
}

// What is asked goes to standard error, so that standard output holds the command's own result alone.
const context = { output: process.stderr } as const;
const theme = { prefix: '' } as const;

async function answered(question: Promise<string>): Promise<string> {
  try {
    return await question;
  } catch (error) {
    if (error instanceof Error && error.name === 'ExitPromptError')
      throw new NightlatchError('cancelled', 'cancelled', { cause: error });
    throw error;
  }
}

/** Asks for a secret without showing it. */
export async function askSecret(message: string, what: string, instead: string): Promise<string> {
  requireTerminal(what, instead);
  const { default: password } = await import('@inquirer/password');
  return answered(password({ message, mask: false, theme }, context));
}

/**
 * Asks for a password to set, twice, since nobody sees what is typed. `check` says what is wrong with one, which is then asked for again;
 * undefined where nothing is.
 */
export async function askNewPassword(
  message = 'New password:',
  check: (password: string) => string | undefined = () => undefined,
): Promise<string> {
  const instead = 'pass it with --password-fd';
  const ask = () => askSecret(message, 'password', instead);
  let password = await ask();
  for (let wrong = check(password); wrong !== undefined; wrong = check(password)) {
    process.stderr.write(`${wrong}\n`);
    password = await ask();
  }
  const again = await askSecret('Once more:', 'password', instead);
  if (password !== again) throw new NightlatchError('bad_parameter', 'the passwords differ');
  return password;
}

/** Asks for a line. */
export async function askLine(message: string, what: string, instead: string): Promise<string> {
  requireTerminal(what, instead);
  const { default: input } = await import('@inquirer/input');
  return answered(input({ message, theme }, context));
}
