import type { Socket } from 'node:net';
import { type IPty, spawn } from '@lydell/node-pty';
import type { Clock } from '../../core/clock.ts';

/** Silence after a program's exit that ends its output, where something else still holds the terminal, in milliseconds. */
const QUIET_MS = 200;

export interface TerminalOptions {
  readonly file: string;
  readonly args: readonly string[];
  readonly term: string;
  readonly columns: number;
  readonly rows: number;
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
  readonly clock: Clock;
}

/** A program in a terminal of its own, with bytes in and out. */
export interface TerminalProcess {
  readonly pid: number;
  onData(fn: (data: Buffer) => void): void;
  /** After the last output. `signal` is a number, 0 for none. */
  onExit(fn: (exit: { readonly exitCode: number; readonly signal?: number }) => void): void;
  write(data: Uint8Array): void;
  /** Bytes that wait to be read by the program. */
  readonly pending: number;
  onceDrained(fn: () => void): void;
  pause(): void;
  resume(): void;
  resize(columns: number, rows: number): void;
}

/**
 * Starts a program in a terminal, by node-pty. Its own end is mended: 200 ms after the program's exit node-pty throws away what
 * has not been read, which with a slow reader is output.
 */
export function spawnTerminal(options: TerminalOptions): TerminalProcess {
  const { file, args, term, columns, rows, cwd, env, clock } = options;
  const pty = spawn(file, [...args], { name: term, cols: columns, rows, cwd, env: { ...env }, encoding: null });
  // node-pty hides its socket, which alone knows how much waits and when it is closed.
  const socket = (pty as unknown as { readonly _socket: Socket })._socket;
  keepOutput(socket, clock);
  return {
    get pid() {
      return pty.pid;
    },
    get pending() {
      return socket.writableLength;
    },
    // `encoding: null` gives bytes, which the declarations do not know.
    onData: (fn) => void pty.onData((data) => fn(data as unknown as Buffer)),
    onExit: (fn) => void pty.onExit(fn),
    write: (data) => pty.write(data as unknown as string),
    onceDrained: (fn) => void socket.once('drain', fn),
    pause: () => pty.pause(),
    resume: () => pty.resume(),
    resize: (wide, high) => resizeQuietly(pty, wide, high),
  };
}

function resizeQuietly(pty: IPty, columns: number, rows: number): void {
  try {
    pty.resize(columns, rows);
  } catch {
    // The program has ended in this very moment.
  }
}

/** Puts off the closing of the terminal until all its output has been read, or nothing has come for a while. */
function keepOutput(socket: Socket, clock: Clock): void {
  const destroy = socket.destroy.bind(socket);
  let lastDataMs = clock.now();
  let waiting = false;
  socket.on('data', () => {
    lastDataMs = clock.now();
  });
  const whenQuiet = () => {
    const now = clock.now();
    if (socket.destroyed) return;
    if (!socket.isPaused() && now - lastDataMs >= QUIET_MS) destroy();
    else clock.at(Math.max(lastDataMs + QUIET_MS, now + QUIET_MS / 4), whenQuiet);
  };
  socket.destroy = (error) => {
    // The end of the output: EIO on Linux, when nobody holds the terminal any more.
    if (error !== undefined || socket.readableEnded) return destroy(error);
    if (!waiting) {
      waiting = true;
      lastDataMs = clock.now();
      whenQuiet();
    }
    return socket;
  };
}
