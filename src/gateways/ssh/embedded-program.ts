import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { constants } from 'node:os';
import type { Clock } from '../../core/clock.ts';
import { errorMessage } from '../../core/errors.ts';
import { SshWriter } from '../../wire/ssh/buffer.ts';
import type { PtyRequest } from '../../wire/ssh/messages.ts';
import { type Account, commandAs } from './embedded-account.ts';
import type { LocalChannel } from './local-channel.ts';
import { spawnTerminal, type TerminalProcess } from './terminal-process.ts';

/** Signals of RFC 4254 section 6.10 that a client may send. */
const SIGNALS = ['ABRT', 'ALRM', 'FPE', 'HUP', 'ILL', 'INT', 'KILL', 'PIPE', 'QUIT', 'SEGV', 'TERM', 'USR1', 'USR2'];
/** What a program gets between SIGHUP and SIGKILL when its session ends, in milliseconds. */
const HANGUP_GRACE_MS = 1_000;
/** Bytes that may wait for a terminal's program before the client is asked to stop. */
const PTY_HIGH_WATER = 64 * 1024;
const SFTP_SERVERS = [
  '/usr/lib/openssh/sftp-server',
  '/usr/libexec/openssh/sftp-server',
  '/usr/lib/ssh/sftp-server',
  '/usr/libexec/sftp-server',
];

/** The system's SFTP server, where there is one. */
export function findSftpServer(): string | undefined {
  return SFTP_SERVERS.find((path) => existsSync(path));
}

export interface ProgramOptions {
  readonly channel: LocalChannel;
  readonly account: Account;
  readonly env: Readonly<Record<string, string>>;
  readonly clock: Clock;
  readonly pty: PtyRequest | undefined;
  /** Program and arguments. */
  readonly command: readonly [file: string, ...args: string[]];
}

/** A program that runs for a session channel. */
export interface Program {
  resize(columns: number, rows: number): void;
  /** @returns whether it is a signal that may be sent. */
  signal(name: string): boolean;
  /** SIGHUP to its process group, SIGKILL soon after; resolves when it is gone. */
  hangUp(): Promise<void>;
  /** SIGKILL to its process group. */
  kill(): void;
  readonly ended: Promise<void>;
}

/** Starts a program with or without a terminal and joins it to the channel; its exit closes the channel (RFC 4254 section 6.10). */
export function startProgram(options: ProgramOptions): Program {
  return options.pty === undefined ? startPlain(options) : startInTerminal(options, options.pty);
}

function startPlain(options: ProgramOptions): Program {
  const { channel, account, env, clock, command } = options;
  const [file, args] = commandAs(account, command[0], command.slice(1));
  // A session and process group of its own, so that all of it can be ended.
  const child = spawn(file, args, { cwd: homeOr(account), env, detached: true, stdio: ['pipe', 'pipe', 'pipe'] });
  const { promise, resolve } = Promise.withResolvers<void>();
  child.once('error', (error) => {
    channel.stderr.write(`${errorMessage(error)}\n`);
    sendExitStatus(channel, 127);
    channel.end(() => channel.destroy());
    resolve();
  });
  joinPlain(channel, child);
  child.once('exit', (code, signal) => {
    if (signal !== null) sendExitSignal(channel, signal);
    else sendExitStatus(channel, code ?? 255);
    resolve();
  });
  // The channel stays open until nobody holds the program's output any more, as with sshd.
  child.once('close', () => channel.end(() => channel.destroy()));
  channel.once('close', () => {
    child.stdin.destroy();
    child.stdout.destroy();
    child.stderr.destroy();
  });
  return program(
    () => child.pid,
    promise,
    clock,
    () => {},
  );
}

function joinPlain(channel: LocalChannel, child: ChildProcess & { stdin: NonNullable<ChildProcess['stdin']> }): void {
  channel.pipe(child.stdin);
  // A program that does not read its input must not keep the client's data waiting for ever.
  child.stdin.on('error', () => channel.resume());
  child.stdout?.pipe(channel, { end: false });
  child.stderr?.pipe(channel.stderr, { end: false });
}

function startInTerminal(options: ProgramOptions, request: PtyRequest): Program {
  const { channel, account, env, clock, command } = options;
  const [file, args] = commandAs(account, command[0], command.slice(1));
  const terminal = spawnTerminal({
    file,
    args,
    term: /^[A-Za-z0-9._+-]{1,64}$/.test(request.term) ? request.term : 'dumb',
    columns: dimension(request.columns, 80),
    rows: dimension(request.rows, 24),
    cwd: homeOr(account),
    env,
    clock,
  });
  joinTerminal(channel, terminal);
  const { promise, resolve } = Promise.withResolvers<void>();
  terminal.onExit(({ exitCode, signal }) => {
    if (signal) sendExitSignal(channel, signalName(signal));
    else sendExitStatus(channel, exitCode);
    channel.end(() => channel.destroy());
    resolve();
  });
  const resize = (columns: number, rows: number) => terminal.resize(dimension(columns, 80), dimension(rows, 24));
  return program(() => terminal.pid, promise, clock, resize);
}

function joinTerminal(channel: LocalChannel, terminal: TerminalProcess): void {
  terminal.onData((data) => {
    if (!channel.write(data)) {
      terminal.pause();
      channel.once('drain', () => terminal.resume());
    }
  });
  // A channel that is gone reads nothing more: the program must not wait for it.
  channel.once('close', () => terminal.resume());
  channel.on('data', (data: Buffer) => {
    terminal.write(data);
    if (terminal.pending > PTY_HIGH_WATER) {
      channel.pause();
      terminal.onceDrained(() => channel.resume());
    }
  });
}

function program(
  pid: () => number | undefined,
  ended: Promise<void>,
  clock: Clock,
  resize: (columns: number, rows: number) => void,
): Program {
  const send = (signal: NodeJS.Signals) => {
    const group = pid();
    if (group === undefined) return;
    try {
      process.kill(-group, signal);
    } catch {
      // Nobody is left in the group.
    }
  };
  return {
    resize,
    ended,
    signal(name) {
      if (!SIGNALS.includes(name)) return false;
      send(`SIG${name}` as NodeJS.Signals);
      return true;
    },
    kill: () => send('SIGKILL'),
    async hangUp() {
      send('SIGHUP');
      const timer = clock.at(clock.now() + HANGUP_GRACE_MS, () => send('SIGKILL'));
      await ended;
      timer.cancel();
    },
  };
}

function homeOr(account: Account): string {
  return existsSync(account.home) ? account.home : '/';
}

function dimension(wanted: number, otherwise: number): number {
  return wanted >= 1 && wanted <= 0xffff ? wanted : otherwise;
}

function signalName(number: number): string {
  return Object.entries(constants.signals).find(([, value]) => value === number)?.[0] ?? 'SIGTERM';
}

function sendExitStatus(channel: LocalChannel, status: number): void {
  channel.request('exit-status', new SshWriter(4).uint32(status).finish());
}

function sendExitSignal(channel: LocalChannel, signal: string): void {
  const data = new SshWriter(32).string(signal.replace(/^SIG/, '')).boolean(false).string('').string('').finish();
  channel.request('exit-signal', data);
}
