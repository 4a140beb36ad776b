import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';

/** What the gateway's process has used so far: microseconds of CPU, bytes of memory. */
export interface Usage {
  readonly cpuUs: number;
  readonly rss: number;
  readonly heapUsed: number;
  readonly external: number;
  readonly sessions: number;
}

export interface Ready {
  readonly dir: string;
  readonly nodePort: number;
  readonly jumpPort: number;
  readonly sshdPort: number;
}

/** The gateway of a measurement, with its server and its configuration for clients. */
export class GatewayProcess {
  readonly #child: ChildProcess;
  readonly ready: Ready;

  private constructor(child: ChildProcess, ready: Ready) {
    this.#child = child;
    this.ready = ready;
  }

  static async start(
    script = 'lab-process.ts',
    nodeOptions: readonly string[] = [],
    args: readonly string[] = [],
  ): Promise<GatewayProcess> {
    const child = fork(new URL(script, import.meta.url), [...args], {
      execArgv: ['--expose-gc', '--disable-warning=ExperimentalWarning', ...nodeOptions],
    });
    const [message] = (await once(child, 'message')) as [{ ready: Ready }];
    return new GatewayProcess(child, message.ready);
  }

  /** `memory`: after a collection of garbage, so that the memory is what is in use. */
  async usage(ask: 'usage' | 'memory' = 'usage'): Promise<Usage> {
    const answer = once(this.#child, 'message') as Promise<[{ usage: Usage }]>;
    this.#child.send({ ask });
    return (await answer)[0].usage;
  }

  async stop(): Promise<void> {
    const exit = once(this.#child, 'exit');
    this.#child.send({ ask: 'stop' });
    await exit;
  }
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
