import '@xterm/xterm/css/xterm.css';
import { FitAddon } from '@xterm/addon-fit';
import { SearchAddon } from '@xterm/addon-search';
import { Terminal } from '@xterm/xterm';
import {
  CLOSE_SIGNED_OUT,
  type TerminalControlMessage,
  type TerminalResizeMessage,
} from '../../../src/wire/api/terminal-messages.ts';

/** What the page is told about its terminal. */
export interface TerminalEvents {
  ready(sessionId: string): void;
  policy(idleTimeoutMs: number, source: string): void;
  warning(text: string, remainingMs: number): void;
  kept(text: string): void;
  /** Called once, when the picture is gone already. */
  end(cause: string, text: string): void;
  /** The user asked for the search (Ctrl+Shift+F). */
  search(): void;
}

export interface TerminalOptions {
  readonly element: HTMLElement;
  /** Name of the node, as registered. */
  readonly node: string;
  readonly login: string;
  readonly on: TerminalEvents;
}

export interface TerminalView {
  find(text: string, direction: 'next' | 'previous'): boolean;
  /** Puts the selection on the clipboard. */
  copy(): Promise<void>;
  focus(): void;
  close(): void;
}

const THEME = {
  background: '#0d1117',
  foreground: '#e6eaf0',
  cursor: '#f3c969',
  selectionBackground: '#2d4f7c',
  black: '#2b3340',
  brightBlack: '#7d8898',
};
/** Pasted text goes out in parts, so that a message stays below the gateway's limit. */
const PART_BYTES = 64 * 1024;
/** The gateway gives a sign of life every 20 seconds; after this long without one it is lost, in milliseconds. */
const SILENCE_MS = 75_000;
/** A warning that nobody took back is followed by the end; it is given this long to arrive. */
const END_GRACE_MS = 5_000;
const LOST = 'The connection to the gateway was lost.';

/** Opens a terminal in an element: xterm.js over a WebSocket. */
export function openTerminal({ element, node, login, on }: TerminalOptions): TerminalView {
  const terminal = new Terminal({
    fontFamily: 'ui-monospace, "SF Mono", "Cascadia Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace',
    fontSize: 14,
    lineHeight: 1.15,
    cursorBlink: false,
    scrollback: 10_000,
    theme: THEME,
    // The addon that highlights what was found.
    allowProposedApi: true,
    // Programs choose colours without knowing the ground: WCAG 1.4.3 holds all the same.
    minimumContrastRatio: 4.5,
  });
  const fit = new FitAddon();
  const search = new SearchAddon();
  terminal.loadAddon(fit);
  terminal.loadAddon(search);
  terminal.open(element);
  fit.fit();

  const url = new URL('/v1/web/terminal', location.href.replace(/^http/, 'ws'));
  url.search = new URLSearchParams({
    node,
    login,
    columns: String(terminal.cols),
    rows: String(terminal.rows),
  }).toString();
  const ws = new WebSocket(url);
  ws.binaryType = 'arraybuffer';
  const encoder = new TextEncoder();
  let ended = false;
  let silence: ReturnType<typeof setTimeout> | undefined;
  let deadline: ReturnType<typeof setTimeout> | undefined;
  /** Nobody knows whether the session still stands: its picture must not. */
  const lose = () => {
    end('lost', LOST);
    ws.close();
  };

  const send = (bytes: Uint8Array<ArrayBuffer>) => {
    if (ws.readyState !== WebSocket.OPEN) return;
    for (let at = 0; at < bytes.length; at += PART_BYTES) ws.send(bytes.subarray(at, at + PART_BYTES));
  };
  const end = (cause: string, text: string) => {
    if (ended) return;
    ended = true;
    clearTimeout(silence);
    clearTimeout(deadline);
    sizes.disconnect();
    // The picture goes first: nothing of it is left in the page, nor in what can be scrolled back to.
    terminal.reset();
    terminal.dispose();
    element.replaceChildren();
    on.end(cause, text);
  };

  terminal.onData((text) => send(encoder.encode(text)));
  // Mouse reports of old programs are bytes, not text.
  terminal.onBinary((text) => send(Uint8Array.from(text, (character) => character.charCodeAt(0))));
  terminal.onResize(({ cols, rows }) => {
    const message: TerminalResizeMessage = { type: 'resize', columns: cols, rows };
    if (ws.readyState === WebSocket.OPEN) ws.send(JSON.stringify(message));
  });
  terminal.attachCustomKeyEventHandler((event) => {
    if (event.type !== 'keydown' || !event.ctrlKey || !event.shiftKey) return true;
    if (event.code === 'KeyF') on.search();
    else if (event.code === 'KeyC') void copy();
    else return true;
    event.preventDefault();
    return false;
  });
  const sizes = new ResizeObserver(() => {
    if (!ended) fit.fit();
  });
  sizes.observe(element);
  const copy = async () => {
    const text = terminal.getSelection();
    if (text !== '') await navigator.clipboard.writeText(text);
    terminal.focus();
  };

  ws.addEventListener('message', (event: MessageEvent<string | ArrayBuffer>) => {
    if (typeof event.data !== 'string') {
      if (!ended) terminal.write(new Uint8Array(event.data));
      return;
    }
    const message = JSON.parse(event.data) as TerminalControlMessage;
    clearTimeout(silence);
    if (!ended) silence = setTimeout(lose, SILENCE_MS);
    switch (message.type) {
      case 'ready':
        on.ready(message.sessionId);
        on.policy(message.idleTimeoutMs, message.timeoutSource);
        terminal.focus();
        break;
      case 'policy':
        on.policy(message.idleTimeoutMs, message.timeoutSource);
        break;
      case 'warning':
        on.policy(message.idleTimeoutMs, message.timeoutSource);
        on.warning(message.text, message.remainingMs);
        clearTimeout(deadline);
        deadline = setTimeout(lose, message.remainingMs + END_GRACE_MS);
        break;
      case 'kept':
        clearTimeout(deadline);
        on.kept(message.text);
        break;
      case 'end':
        end(message.cause, message.text);
        break;
    }
  });
  ws.addEventListener('close', (event) => {
    if (event.code === CLOSE_SIGNED_OUT) end('signed_out', 'Session ended: you were signed out.');
    else end('lost', LOST);
  });

  return {
    find: (text, direction) => (direction === 'next' ? search.findNext(text) : search.findPrevious(text)),
    copy,
    focus: () => terminal.focus(),
    close: () => {
      ended = true;
      clearTimeout(silence);
      clearTimeout(deadline);
      sizes.disconnect();
      ws.close();
      terminal.dispose();
    },
  };
}
