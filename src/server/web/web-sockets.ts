import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { type WebSocket, WebSocketServer } from 'ws';
import { z } from 'zod';
import type { Timer } from '../../core/clock.ts';
import { errorMessage, NightlatchError } from '../../core/errors.ts';
import { Secret } from '../../core/secret.ts';
import { DESKTOP_WEBSOCKET_OPTIONS, type DesktopGateway } from '../../gateways/desktop/gateway.ts';
import type { SshGateway } from '../../gateways/ssh/gateway.ts';
import type { Identity } from '../../identity/types.ts';
import { CLOSE_SIGNED_OUT } from '../../wire/api/terminal-messages.ts';
import { SESSION_COOKIE } from '../api/caller.ts';
import { HTTP_STATUS } from '../api/http-errors.ts';
import { refuseIfLocked } from '../certificates.ts';
import type { ServerContext } from '../context.ts';
import { remoteAddr } from '../public-port.ts';
import { MAX_TERMINAL_MESSAGE_BYTES, TerminalBridge } from './terminal-bridge.ts';
import type { Terminals } from './terminals.ts';

/** Terminals and desktops that one browser may have open at once. */
const MAX_SOCKETS_PER_SESSION = 64;
/** How often the web sessions behind open sockets are looked at, in milliseconds. */
const CHECK_INTERVAL_MS = 1_000;

const text = z.string().min(1).max(255);
const cells = z.coerce.number().int().min(1).max(1_000);
const terminalQuery = z.object({ node: text, login: text, columns: cells.default(80), rows: cells.default(24) });
const desktopQuery = z.object({ desktop: text, login: text });

/** The WebSockets of the web application. */
export interface WebSockets {
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void;
  close(): void;
}

interface SignedIn {
  readonly token: string;
  readonly identity: Identity;
}

/**
 * Terminals (`/v1/web/terminal`) and desktops (`/v1/web/desktop`) of browsers. A socket needs the session cookie and the gateway's own origin, and
 * ends with the web session: signed out, expired, idle.
 */
export function createWebSockets(
  ctx: ServerContext,
  parts: { readonly ssh: SshGateway; readonly desktops: DesktopGateway; readonly terminals: Terminals },
): WebSockets {
  const terminals = new WebSocketServer({
    noServer: true,
    perMessageDeflate: false,
    maxPayload: MAX_TERMINAL_MESSAGE_BYTES,
  });
  const desktops = new WebSocketServer({ noServer: true, ...DESKTOP_WEBSOCKET_OPTIONS });
  const guard = new SessionGuard(ctx);

  const open = async (request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> => {
    const url = new URL(request.url ?? '/', 'https://gateway');
    checkOrigin(request);
    const signedIn = await authenticated(ctx, request);
    const { user, expiresAtMs } = signedIn.identity;
    const clientAddr = remoteAddr(request.socket);
    const query = Object.fromEntries(url.searchParams);
    guard.makeRoom(signedIn.token);
    if (url.pathname === '/v1/web/terminal') {
      const { node, login, columns, rows } = parse(terminalQuery, query);
      terminals.handleUpgrade(request, socket, head, (ws) => {
        guard.add(signedIn.token, ws);
        const terminal = new TerminalBridge(ctx, parts.ssh, ws, {
          user,
          login,
          node,
          clientAddr,
          notAfterMs: expiresAtMs,
          columns,
          rows,
        });
        parts.terminals.add(terminal);
        ws.once('close', () => parts.terminals.remove(terminal));
      });
    } else if (url.pathname === '/v1/web/desktop') {
      const { desktop, login } = parse(desktopQuery, query);
      desktops.handleUpgrade(request, socket, head, (ws) => {
        guard.add(signedIn.token, ws);
        parts.desktops.accept(ws, { clientAddr, user, certExpiresAtMs: expiresAtMs, desktop, login });
      });
    } else throw new NightlatchError('not_found', 'there is no such endpoint');
  };

  return {
    upgrade(request, socket, head) {
      socket.on('error', () => socket.destroy());
      open(request, socket, head).catch((error: unknown) => {
        const code = error instanceof NightlatchError ? error.code : 'internal';
        ctx.log.info('a WebSocket was refused', { ip: remoteAddr(request.socket), error: errorMessage(error) });
        socket.end(`HTTP/1.1 ${HTTP_STATUS[code]} ${code}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
      });
    },
    close() {
      guard.close();
      for (const server of [terminals, desktops]) {
        for (const ws of server.clients) ws.terminate();
        server.close();
      }
    },
  };
}

/** WebSockets are not bound by the same-origin policy: another site's page could open one with the user's cookie. */
function checkOrigin(request: IncomingMessage): void {
  const { origin, host } = request.headers;
  if (origin === undefined || host === undefined || origin !== `https://${host}`) {
    throw new NightlatchError('access_denied', 'the WebSocket comes from another site');
  }
}

async function authenticated(ctx: ServerContext, request: IncomingMessage): Promise<SignedIn> {
  const token = cookieOf(request.headers.cookie ?? '', SESSION_COOKIE);
  if (token === undefined) throw new NightlatchError('unauthenticated', 'sign in first');
  const verified = await ctx.identity.sessions.verify(new Secret(token));
  if (!verified.ok) throw new NightlatchError('unauthenticated', verified.reason);
  const { identity } = verified;
  if (!ctx.policy.current.users.has(identity.user))
    throw new NightlatchError('unauthenticated', 'there is no such user');
  refuseIfLocked(ctx, identity.user);
  return { token, identity };
}

function cookieOf(header: string, name: string): string | undefined {
  for (const part of header.split(';')) {
    const [key, value] = part.trim().split('=', 2);
    if (key === name && value !== undefined) return value;
  }
  return undefined;
}

function parse<T>(schema: z.ZodType<T>, value: unknown): T {
  const result = schema.safeParse(value);
  if (!result.success) throw new NightlatchError('bad_parameter', 'the query does not name a target and a login');
  return result.data;
}

/** Closes a browser's sockets when its web session is over. */
class SessionGuard {
  readonly #ctx: ServerContext;
  readonly #sockets = new Map<string, Set<WebSocket>>();
  #timer: Timer | undefined;

  constructor(ctx: ServerContext) {
    this.#ctx = ctx;
  }

  /** @throws {NightlatchError} `limit_exceeded` */
  makeRoom(token: string): void {
    if ((this.#sockets.get(token)?.size ?? 0) >= MAX_SOCKETS_PER_SESSION) {
      throw new NightlatchError('limit_exceeded', 'too many terminals and desktops are open');
    }
  }

  add(token: string, ws: WebSocket): void {
    const sockets = this.#sockets.get(token) ?? new Set();
    this.#sockets.set(token, sockets.add(ws));
    ws.once('close', () => {
      sockets.delete(ws);
      if (sockets.size === 0 && this.#sockets.get(token) === sockets) this.#sockets.delete(token);
    });
    this.#schedule();
  }

  close(): void {
    this.#timer?.cancel();
    this.#sockets.clear();
  }

  #schedule(): void {
    if (this.#timer !== undefined) return;
    const { clock } = this.#ctx;
    this.#timer = clock.at(clock.now() + CHECK_INTERVAL_MS, () => {
      void this.#check().finally(() => {
        this.#timer = undefined;
        if (this.#sockets.size > 0) this.#schedule();
      });
    });
  }

  async #check(): Promise<void> {
    for (const [token, sockets] of [...this.#sockets]) {
      try {
        const verified = await this.#ctx.identity.sessions.verify(new Secret(token));
        if (verified.ok) continue;
        for (const ws of sockets) ws.close(CLOSE_SIGNED_OUT, 'signed out');
      } catch (error) {
        // A store that is away ends nobody's session.
        this.#ctx.log.warn('a web session could not be checked', { error: errorMessage(error) });
      }
    }
  }
}
