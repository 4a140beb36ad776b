import type { DesktopControlMessage, DesktopOpenMessage } from '../../../src/gateways/desktop/control-messages.ts';
import type { ControlListener } from './life.ts';

/**
 * A WebSocket on which the gateway's text messages are the page's and its binary messages the desktop component's. It says
 * what the page wants before the component can send anything: its `open` listener is the first.
 */
export function controlSocket(url: string, open: DesktopOpenMessage, listener: ControlListener): WebSocket {
  const ws = new WebSocket(url);
  listener.socket = ws;
  ws.binaryType = 'arraybuffer';
  ws.addEventListener('open', () => ws.send(JSON.stringify(open)));
  ws.addEventListener('message', (event: MessageEvent<unknown>) => {
    if (typeof event.data !== 'string') return;
    event.stopImmediatePropagation();
    listener.message(JSON.parse(event.data) as DesktopControlMessage);
  });
  ws.addEventListener('close', (event) => listener.closed(event.code, event.reason));
  return ws;
}

/**
 * Calls `connect`, whose component opens a WebSocket to `url` by itself, and gives it a control socket instead. Other
 * connections that the page opens meanwhile are left alone; the browser's own constructor is back as soon as ours was used.
 */
export async function withControlSocket<T>(
  url: string,
  open: DesktopOpenMessage,
  listener: ControlListener,
  connect: () => Promise<T>,
): Promise<{ result: T }> {
  const Native = globalThis.WebSocket;
  const restore = () => {
    if (globalThis.WebSocket === Replaced) globalThis.WebSocket = Native;
  };
  const Replaced = new Proxy(Native, {
    construct(target, args: [string | URL, (string | string[])?]) {
      if (String(args[0]) !== url) return Reflect.construct(target, args) as WebSocket;
      restore();
      return controlSocket(url, open, listener);
    },
  });
  globalThis.WebSocket = Replaced;
  try {
    return { result: await connect() };
  } finally {
    restore();
  }
}

/** The address of a desktop's WebSocket with its ticket. */
export function ticketUrl(url: string, ticket: string | undefined): string {
  const address = new URL(url, location.href);
  if (address.protocol === 'http:') address.protocol = 'ws:';
  if (address.protocol === 'https:') address.protocol = 'wss:';
  if (ticket !== undefined) address.searchParams.set('ticket', ticket);
  return address.href;
}
