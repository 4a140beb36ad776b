import type { Duplex } from 'node:stream';
import type { WebSocket } from 'ws';
import { EVENTS } from '../../audit/catalog.ts';
import { errorMessage, NightlatchError } from '../../core/errors.ts';
import { Secret } from '../../core/secret.ts';
import { checkDesktopAccess } from '../../policy/access.ts';
import type { EffectiveIdlePolicy } from '../../policy/idle-policy.ts';
import { desktopOptions } from '../../policy/options.ts';
import type { PolicySnapshot } from '../../policy/snapshot.ts';
import type { WindowsDesktop } from '../../resources/index.ts';
import type { IdleWarning, Session, SessionControl, SessionEnd, SessionSpec } from '../../session/types.ts';
import {
  decodeRdCleanPathRequest,
  encodeRdCleanPathError,
  encodeRdCleanPathResponse,
} from '../../wire/rdp/rdcleanpath.ts';
import { encodeX224ConnectionConfirm, PROTOCOL_SSL } from '../../wire/rdp/x224.ts';
import { deadline } from '../common/deadline.ts';
import { BrowserSocket } from './browser-socket.ts';
import { parseOpenMessage } from './control-codec.ts';
import type { DesktopProblem } from './control-messages.ts';
import { DesktopError } from './desktop-error.ts';
import type { DesktopClient, DesktopGatewayDeps } from './gateway.ts';
import { type Connected, endAndClose, joinSides } from './join.ts';
import { abortable, connectRdp } from './rdp-connect.ts';
import { RdpRelay } from './rdp-relay.ts';
import type { DesktopRelay, RelayEvents } from './relay.ts';
import { connectVnc, greetBrowser } from './vnc-connect.ts';
import { VncRelay } from './vnc-relay.ts';

/** For the page to say what it wants, once the WebSocket is open. */
const OPENING_MS = 10_000;
/** For reaching and signing in to the desktop, up to its being usable. */
const CONNECT_MS = 45_000;

/** One desktop in one browser, from the accepted WebSocket to both sides closed. */
export class DesktopConnection implements SessionControl {
  readonly #deps: DesktopGatewayDeps;
  readonly #client: DesktopClient;
  readonly #browser: BrowserSocket;
  readonly #cancel = new AbortController();
  /** Resolves when everything is over. */
  readonly done: Promise<void>;
  #session: Session | undefined;
  #upstream: Duplex | undefined;
  #relay: DesktopRelay | undefined;
  #problem: DesktopProblem | undefined;
  #protocol: 'rdp' | 'vnc' | undefined;
  #startedAtMs = 0;
  /** Set once the end has begun: nothing of the desktop reaches the browser any more. */
  #ending = false;
  #isReady = false;
  #readied: () => void = () => undefined;
  #clipboard: { snapshot: PolicySnapshot; allowed: boolean } | undefined;

  constructor(deps: DesktopGatewayDeps, ws: WebSocket, client: DesktopClient) {
    this.#deps = deps;
    this.#client = client;
    this.#browser = new BrowserSocket(ws, deps.clock);
    this.done = this.#run().catch((error: unknown) => this.#failed(error));
  }

  /** Ends a connection that has no session yet; those that have one are the session manager's. */
  cancel(): void {
    this.#cancel.abort(new NightlatchError('cancelled', 'the gateway is shutting down'));
  }

  async #run(): Promise<void> {
    const { policy, credentials } = this.#deps;
    const { desktop: name, login } = this.#client;
    const desktop = policy.current.desktops.get(name);
    const opening = deadline(this.#deps.clock, OPENING_MS, 'the page did not say what it wants', this.#cancel.signal);
    let typed: string | undefined;
    try {
      const open = parseOpenMessage(await abortable(this.#browser.opening(), opening.signal));
      if (open === undefined) throw new DesktopError('failed', 'the page did not begin with "open"');
      typed = open.password;
      if (desktop === undefined) throw new DesktopError('denied', `there is no desktop "${name}"`);
      this.#protocol = desktop.spec.protocol;
      if (desktop.spec.protocol === 'rdp') await abortable(this.#browser.read(decodeRequestFor(name)), opening.signal);
    } finally {
      opening.clear();
    }

    const opened = await this.#deps.sessions.open(this.#spec(desktop), this);
    if (!opened.ok) throw new DesktopError('denied', opened.text);
    const { session } = opened;
    this.#session = session;
    this.#watchBrowser(session);
    const kept = await credentials(name, login);
    const password = kept ?? (typed === undefined || typed === '' ? undefined : new Secret(typed));

    const connecting = deadline(this.#deps.clock, CONNECT_MS, 'the desktop was not usable', this.#cancel.signal);
    try {
      const usable = new Promise<void>((resolve) => {
        this.#readied = resolve;
      });
      const connected =
        desktop.spec.protocol === 'vnc'
          ? await this.#connectVnc(desktop, password, connecting.signal)
          : await this.#connectRdp(desktop, password, connecting.signal);
      if (this.#ending) {
        connected.upstream.destroy();
        return;
      }
      this.#join(session, connected);
      await abortable(usable, connecting.signal);
    } finally {
      connecting.clear();
    }
    await session.ended;
  }

  #spec(desktop: WindowsDesktop): SessionSpec {
    const { user, login, clientAddr, certExpiresAtMs } = this.#client;
    const { name } = desktop.metadata;
    const labels = desktop.metadata.labels ?? {};
    return {
      kind: 'desktop',
      protocol: desktop.spec.protocol,
      user,
      login,
      target: { kind: 'windows_desktop', name, displayName: name, addr: desktop.spec.addr, labels },
      clientAddr,
      certExpiresAtMs,
      authorize: (snapshot) => {
        const current = snapshot.desktops.get(name);
        // A desktop that has moved is another machine: its sessions must not go on under the old answer.
        if (current === undefined || current.spec.addr !== desktop.spec.addr) {
          return { allowed: false, reason: `desktop "${name}" is not registered any more` };
        }
        return checkDesktopAccess(snapshot, { user, desktop: current, login });
      },
      auditFields: this.#auditFields(desktop),
    };
  }

  #auditFields(desktop: WindowsDesktop): Readonly<Record<string, unknown>> {
    return {
      desktop_name: desktop.metadata.name,
      desktop_addr: desktop.spec.addr,
      windows_user: this.#client.login,
      windows_domain: desktop.spec.domain ?? '',
      desktop_labels: desktop.metadata.labels ?? {},
    };
  }

  async #connectRdp(
    desktop: WindowsDesktop,
    password: Secret<string> | undefined,
    signal: AbortSignal,
  ): Promise<Connected> {
    if (password === undefined) {
      // Without one, the desktop's own sign-in screen would let in whoever is typed there.
      throw new DesktopError('password_required', `the password of ${this.#client.login} is needed`);
    }
    const logon = { username: this.#client.login, domain: desktop.spec.domain ?? '', password };
    const upstream = await connectRdp(desktop, logon, this.#deps.clock, signal);
    this.#upstream = upstream.socket;
    const relay = new RdpRelay({ selectedProtocol: upstream.selectedProtocol, logon, events: this.#events(desktop) });
    this.#browser.send(
      encodeRdCleanPathResponse({
        // Whatever was negotiated with the desktop: the browser has nothing left to prove.
        x224: encodeX224ConnectionConfirm(PROTOCOL_SSL, upstream.responseFlags),
        certChain: upstream.certChain,
        serverAddr: upstream.serverAddr,
      }),
    );
    return { upstream: upstream.socket, relay, rest: Buffer.alloc(0) };
  }

  async #connectVnc(
    desktop: WindowsDesktop,
    password: Secret<string> | undefined,
    signal: AbortSignal,
  ): Promise<Connected> {
    const upstream = await connectVnc(desktop, { username: this.#client.login, password }, signal);
    this.#upstream = upstream.socket;
    await abortable(greetBrowser(this.#browser, upstream.init), signal);
    const events = this.#events(desktop);
    events.ready();
    return { upstream: upstream.socket, relay: new VncRelay(upstream.init.format, events), rest: upstream.rest };
  }

  #events(desktop: WindowsDesktop): RelayEvents {
    const session = this.#session!;
    return {
      input: () => session.activity('input'),
      work: () => session.activity('work'),
      ready: () => this.#ready(session, desktop),
      clipboardAllowed: () => this.#clipboardAllowed(),
      clipboard: (direction, bytes) => {
        const { event, code } = direction === 'send' ? EVENTS.desktopClipboardSend : EVENTS.desktopClipboardReceive;
        session.audit(event, code, { desktop_addr: desktop.spec.addr, length: bytes });
      },
    };
  }

  #ready(session: Session, desktop: WindowsDesktop): void {
    this.#isReady = true;
    this.#startedAtMs = this.#deps.clock.now();
    session.ready();
    const { event, code } = EVENTS.desktopSessionStart;
    session.audit(event, code, this.#auditFields(desktop));
    const { timeoutMs, timeoutSource } = session.policy;
    this.#browser.control({
      type: 'ready',
      sessionId: session.id,
      idleTimeoutMs: timeoutMs,
      timeoutSource,
      clipboard: this.#clipboardAllowed(),
    });
    this.#readied();
  }

  #clipboardAllowed(): boolean {
    const snapshot = this.#deps.policy.current;
    if (this.#clipboard?.snapshot !== snapshot) {
      this.#clipboard = { snapshot, allowed: desktopOptions(snapshot, this.#client.user).clipboard };
    }
    return this.#clipboard.allowed;
  }

  #watchBrowser(session: Session): void {
    void this.#browser.closed.then((how) => {
      const reason = this.#relay?.serverReason;
      // A desktop that says goodbye makes the browser close first: that is the desktop's end, not the user's.
      if (reason !== undefined) void session.end('target_closed', reason);
      else if (how === 'silent') void session.end('client_closed', 'the browser did not answer');
      else void session.end('client_closed');
    });
  }

  #join(session: Session, connected: Connected): void {
    const { relay } = connected;
    this.#relay = relay;
    joinSides(this.#browser, connected, {
      isEnding: () => this.#ending,
      broken: (side, error) => {
        const text = errorMessage(error);
        this.#deps.log.warn('a desktop session broke its protocol', { sid: session.id, side, error: text });
        void session.end('error', `the ${side} broke the protocol: ${text}`);
      },
      upstreamFailed: (error) => {
        this.#deps.log.debug('the connection to a desktop broke', { sid: session.id, error: errorMessage(error) });
      },
      upstreamClosed: () => void session.end('target_closed', relay.serverReason),
    });
  }

  /** What went wrong before the session was usable, or after it was opened. */
  async #failed(error: unknown): Promise<void> {
    this.#problem = error instanceof DesktopError ? error.problem : 'failed';
    const text = errorMessage(error);
    const session = this.#session;
    if (session !== undefined) {
      if (!this.#isReady) {
        const { event, code } = EVENTS.desktopSessionStartFailed;
        session.audit(event, code, { desktop_name: this.#client.desktop, reason: text });
      }
      await session.end('error', text);
      return;
    }
    this.#deps.log.info('a desktop was not opened', {
      user: this.#client.user,
      desktop: this.#client.desktop,
      error: text,
    });
    this.#browser.control({ type: 'end', cause: 'denied', text, problem: this.#problem });
    if (this.#protocol === 'rdp') this.#browser.send(encodeRdCleanPathError({ kind: 'general', httpStatus: 403 }));
    await this.#closeBrowser(text);
  }

  async #closeBrowser(text: string): Promise<void> {
    this.#browser.close(text);
    const limit = this.#deps.clock.at(this.#deps.clock.now() + 2_000, () => this.#browser.terminate());
    await this.#browser.closed;
    limit.cancel();
  }

  warn(warning: IdleWarning): void {
    this.#browser.control({
      type: 'warning',
      text: warning.text,
      remainingMs: Math.round(warning.remainingMs),
      idleTimeoutMs: warning.policy.timeoutMs,
      timeoutSource: warning.policy.timeoutSource,
    });
  }

  warningCancelled(text: string): void {
    this.#browser.control({ type: 'kept', text });
  }

  policyChanged(policy: EffectiveIdlePolicy): void {
    this.#browser.control({
      type: 'policy',
      idleTimeoutMs: policy.timeoutMs,
      timeoutSource: policy.timeoutSource,
    });
  }

  async close(end: SessionEnd): Promise<void> {
    this.#ending = true;
    this.#cancel.abort(new NightlatchError('cancelled', end.text));
    const upstream = this.#upstream;
    if (this.#isReady) {
      const { event, code } = EVENTS.desktopSessionEnd;
      const durationMs = Math.round(this.#deps.clock.now() - this.#startedAtMs);
      this.#session?.audit(event, code, {
        desktop_name: this.#client.desktop,
        windows_user: this.#client.login,
        cause: end.cause,
        duration_ms: durationMs,
      });
    }
    if (end.tell) {
      // INVARIANT: the page hears of the end, and blanks the picture, before the protocol's own last words.
      this.#browser.control({
        type: 'end',
        cause: end.cause,
        text: end.text,
        ...(this.#problem === undefined ? {} : { problem: this.#problem }),
      });
      if (this.#relay !== undefined) {
        for (const words of this.#relay.farewell(end)) this.#browser.send(words);
      } else if (this.#protocol === 'rdp') {
        this.#browser.send(encodeRdCleanPathError({ kind: 'general', httpStatus: 403 }));
      }
    }
    this.#browser.close(end.text);
    await Promise.all([this.#browser.closed, upstream === undefined ? undefined : endAndClose(upstream)]);
  }

  abort(): void {
    this.#ending = true;
    this.#cancel.abort(new NightlatchError('cancelled', 'the session was cut'));
    this.#browser.terminate();
    this.#upstream?.destroy();
  }
}

/** The RDCleanPath request, which must be for the desktop that the session is for: the gateway goes nowhere else. */
function decodeRequestFor(desktop: string) {
  return (bytes: Buffer) => {
    const found = decodeRdCleanPathRequest(bytes);
    if (found === undefined) return undefined;
    const { destination } = found.request;
    if (destination.replace(/:\d+$/, '') !== desktop) {
      throw new DesktopError('denied', `the page asked for "${destination}" in a session for "${desktop}"`);
    }
    return { length: found.length, value: found.request };
  };
}
