// The suite against the smallest gateway there is: two in-memory ends and the session layer itself, with a terminal and without.

import { checkNodeAccess } from '../../src/policy/access.ts';
import type { Session, SessionControl, SessionEnd } from '../../src/session/types.ts';
import {
  type ConnectResult,
  describeGateway,
  type GatewaySubject,
  type RunningGateway,
  type TestClient,
  type World,
} from './gateway.ts';

const NODE = {
  kind: 'node',
  sub_kind: 'openssh',
  version: 'v2',
  metadata: { name: 'n1', labels: { env: 'test' } },
  spec: { addr: '127.0.0.1:22', hostname: 'web' },
};

class MemoryClient implements TestClient, SessionControl {
  session!: Session;
  readonly canWarn = true;
  readonly closed: Promise<void>;
  readonly targetClosed: Promise<void>;
  readonly #terminal: boolean;
  #told = '';
  #reading = true;
  #close!: () => void;
  #closeTarget!: () => void;

  constructor(terminal: boolean) {
    this.#terminal = terminal;
    this.closed = new Promise((resolve) => {
      this.#close = resolve;
    });
    this.targetClosed = new Promise((resolve) => {
      this.#closeTarget = resolve;
    });
    if (terminal) {
      this.output = async () => this.session.activity('output');
    } else {
      this.work = async () => this.session.activity('work');
      this.startWork = async () => {
        this.session.workStarted();
        return async () => this.session.workEnded();
      };
    }
  }
  output?: () => Promise<void>;
  work?: () => Promise<void>;
  startWork?: () => Promise<() => Promise<void>>;

  warn({ text }: { text: string }): void {
    this.#told += `${text}\n`;
  }
  warningCancelled(text: string): void {
    this.#told += `${text}\n`;
  }
  close(end: SessionEnd): Promise<void> {
    if (!this.#reading) return new Promise(() => undefined);
    if (end.tell) this.#told += `${end.text}\n`;
    this.abort();
    return Promise.resolve();
  }
  abort(): void {
    this.#close();
    this.#closeTarget();
  }

  async input(): Promise<void> {
    this.session.activity('input');
  }
  async noise(): Promise<void> {
    if (this.#terminal) return;
  }
  told(): string {
    return this.#told;
  }
  vanish(): void {
    void this.session.end('client_closed');
  }
  dropTarget(): void {
    void this.session.end('target_closed');
  }
  stopReading(): void {
    this.#reading = false;
  }
  async flood(): Promise<void> {
    this.session.activity(this.#terminal ? 'output' : 'work');
  }
}

function subject(terminal: boolean): GatewaySubject {
  return {
    name: terminal ? 'memory with a terminal' : 'memory',
    protocol: 'ssh',
    allow: { logins: ['root'], node_labels: { '*': '*' } },
    targets: [NODE],
    async start({ sessions, clock }: World): Promise<RunningGateway> {
      return {
        async connect(user): Promise<ConnectResult> {
          const client = new MemoryClient(terminal);
          const opened = await sessions.open(
            {
              kind: 'ssh',
              protocol: 'ssh',
              user,
              login: 'root',
              target: { kind: 'node', name: 'n1', displayName: 'web', addr: '127.0.0.1:22', labels: { env: 'test' } },
              clientAddr: '127.0.0.1:5',
              certExpiresAtMs: clock.wallMs() + 12 * 3_600_000,
              authorize: (snapshot) =>
                checkNodeAccess(snapshot, { user, login: 'root', node: snapshot.nodes.get('n1')! }),
            },
            client,
          );
          if (!opened.ok) return { ok: false, told: opened.text };
          client.session = opened.session;
          opened.session.ready();
          return { ok: true, client };
        },
        close: async () => undefined,
      };
    },
  };
}

describeGateway(subject(false));
describeGateway(subject(true));
