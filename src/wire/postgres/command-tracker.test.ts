import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { CommandTracker } from './command-tracker.ts';
import { BACKEND, FRONTEND } from './messages.ts';

const IDLE = 0x49;
const COMMANDS: ReadonlySet<number> = new Set([
  FRONTEND.query,
  FRONTEND.parse,
  FRONTEND.bind,
  FRONTEND.describe,
  FRONTEND.execute,
  FRONTEND.sync,
]);

/** What a client of the model sends; `fails` and `copies` say what the server makes of it. */
interface Sent {
  readonly type: number;
  readonly fails?: boolean;
  readonly copies?: boolean;
}

/**
 * The server's side as PostgreSQL's postgres.c and copyfromparse.c have it: a message at a time, with the states that make counting go
 * wrong (copy data ignores Sync, an error skips to the next Sync).
 */
class ServerModel {
  state: 'idle' | 'copy-simple' | 'copy-extended' | 'skip' = 'idle';

  /** The answers to one message; 0 stands for ReadyForQuery. */
  take({ type, fails = false, copies = false }: Sent): number[] {
    if (this.state === 'skip') {
      if (type !== FRONTEND.sync) return [];
      this.state = 'idle';
      return [0];
    }
    if (this.state === 'copy-simple' || this.state === 'copy-extended') {
      const simple = this.state === 'copy-simple';
      switch (type) {
        case FRONTEND.copyData:
        case FRONTEND.flush:
        case FRONTEND.sync:
          if (!fails || type !== FRONTEND.copyData) return [];
          break;
        case FRONTEND.copyDone:
          if (fails) break;
          this.state = 'idle';
          return simple ? [BACKEND.commandComplete, 0] : [BACKEND.commandComplete];
        default:
      }
      // CopyFail, data that does not fit, or a message that does not belong into a copy: the copy is over.
      this.state = simple ? 'idle' : 'skip';
      return simple ? [BACKEND.errorResponse, 0] : [BACKEND.errorResponse];
    }
    switch (type) {
      case FRONTEND.query:
        if (copies) {
          this.state = 'copy-simple';
          return [BACKEND.copyInResponse];
        }
        return fails ? [BACKEND.errorResponse, 0] : [BACKEND.rowDescription, BACKEND.commandComplete, 0];
      case FRONTEND.sync:
        return fails ? [BACKEND.errorResponse, 0] : [0];
      case FRONTEND.parse:
      case FRONTEND.bind:
      case FRONTEND.describe:
      case FRONTEND.execute:
        if (fails) {
          this.state = 'skip';
          return [BACKEND.errorResponse];
        }
        if (type === FRONTEND.execute && copies) {
          this.state = 'copy-extended';
          return [BACKEND.copyInResponse];
        }
        return {
          [FRONTEND.parse]: [BACKEND.parseComplete],
          [FRONTEND.bind]: [BACKEND.bindComplete],
          [FRONTEND.describe]: [BACKEND.noData],
          [FRONTEND.execute]: [BACKEND.commandComplete],
        }[type]!;
      default:
        return [];
    }
  }

  get working(): boolean {
    return this.state === 'copy-simple' || this.state === 'copy-extended';
  }
}

function answer(tracker: CommandTracker, type: number): void {
  if (type === 0) tracker.ready(IDLE);
  else tracker.server(type);
}

/** Sends all, then lets the server answer all. */
function exchange(...sent: Sent[]): CommandTracker {
  const tracker = new CommandTracker();
  const server = new ServerModel();
  for (const one of sent) tracker.client(one.type, one.type !== FRONTEND.sync);
  for (const one of sent) for (const type of server.take(one)) answer(tracker, type);
  return tracker;
}

describe('whether a command is running', () => {
  test('from a query to its ReadyForQuery', () => {
    const tracker = new CommandTracker();
    tracker.client(FRONTEND.query, true);
    assert.equal(tracker.busy, true);
    tracker.server(BACKEND.rowDescription);
    tracker.server(BACKEND.commandComplete);
    assert.equal(tracker.busy, true);
    tracker.ready(0x54);
    assert.equal(tracker.busy, false);
    assert.equal(tracker.status, 0x54);
  });

  test('a Sync alone and an empty query are no work', () => {
    const tracker = new CommandTracker();
    tracker.client(FRONTEND.sync, false);
    tracker.client(FRONTEND.query, false);
    assert.equal(tracker.pending, true);
    assert.equal(tracker.busy, false);
    tracker.ready(IDLE);
    tracker.ready(IDLE);
    assert.equal(tracker.pending, false);
  });

  test('each query of a pipeline', () => {
    const tracker = new CommandTracker();
    for (let i = 0; i < 3; i++) tracker.client(FRONTEND.query, true);
    tracker.ready(IDLE);
    tracker.ready(IDLE);
    assert.equal(tracker.busy, true);
    tracker.ready(IDLE);
    assert.equal(tracker.busy, false);
  });

  test('COPY by extended query: the Sync sent with Execute is ignored by the server', () => {
    const copy = [
      { type: FRONTEND.parse },
      { type: FRONTEND.bind },
      { type: FRONTEND.execute, copies: true },
      { type: FRONTEND.sync },
      { type: FRONTEND.copyData },
    ];
    assert.equal(exchange(...copy).busy, true);
    assert.equal(exchange(...copy, { type: FRONTEND.copyDone }, { type: FRONTEND.sync }).pending, false);
  });

  test('extended queries answered to a Flush: the server waits for the client', () => {
    assert.equal(exchange({ type: FRONTEND.parse }, { type: FRONTEND.flush }).pending, false);
  });

  test('commands of which no answer was asked for are no work: the server may be done with them', () => {
    const tracker = new CommandTracker();
    const send = (...types: number[]) => {
      for (const type of types) tracker.client(type, type !== FRONTEND.sync && type !== FRONTEND.flush);
    };
    const answered = (...types: number[]) => {
      for (const type of types) answer(tracker, type);
    };
    send(FRONTEND.parse, FRONTEND.bind, FRONTEND.execute);
    assert.deepEqual([tracker.busy, tracker.pending], [false, true]);
    send(FRONTEND.flush);
    assert.equal(tracker.busy, true);
    answered(BACKEND.parseComplete, BACKEND.bindComplete, BACKEND.commandComplete);
    assert.deepEqual([tracker.busy, tracker.pending], [false, false]);
    send(FRONTEND.parse, FRONTEND.bind, FRONTEND.execute);
    answered(BACKEND.parseComplete, BACKEND.bindComplete, BACKEND.copyInResponse);
    assert.equal(tracker.busy, true);
    send(FRONTEND.copyDone, FRONTEND.sync);
    answered(BACKEND.commandComplete, 0);
    // Behind a batch that was asked for.
    send(FRONTEND.bind, FRONTEND.execute, FRONTEND.sync, FRONTEND.bind, FRONTEND.execute);
    assert.equal(tracker.busy, true);
    answered(BACKEND.bindComplete, BACKEND.commandComplete, 0);
    assert.deepEqual([tracker.busy, tracker.pending], [false, true]);
    send(FRONTEND.sync);
    assert.equal(tracker.busy, true);
    answered(BACKEND.bindComplete, BACKEND.commandComplete, 0);
    assert.deepEqual([tracker.busy, tracker.pending], [false, false]);
  });

  test('never drifts from the server, whatever is sent and however late it is answered', () => {
    const message = fc.record({
      type: fc.constantFrom(
        ...Object.values(FRONTEND).filter(
          (t) =>
            t !== FRONTEND.password && t !== FRONTEND.terminate && t !== FRONTEND.close && t !== FRONTEND.functionCall,
        ),
      ),
      fails: fc.boolean(),
      copies: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(message, { maxLength: 30 }), fc.array(fc.nat(2), { maxLength: 90 }), (sent, order) => {
        const tracker = new CommandTracker();
        const server = new ServerModel();
        const toServer: Sent[] = [];
        const toClient: number[] = [];
        const rest = [...sent];
        // No client sends anything behind a COPY of its own before the server says what comes of it, except the Sync of the batch.
        let copying = false;
        let asked = false;
        const step = (what: number): void => {
          if (what === 0 && rest.length > 0) {
            const next = rest.shift()!;
            if (copying ? COMMANDS.has(next.type) : asked && next.type !== FRONTEND.sync) return;
            if (next.type === FRONTEND.copyDone || next.type === FRONTEND.copyFail) copying = asked = false;
            else if (next.copies === true && COMMANDS.has(next.type)) asked = true;
            tracker.client(next.type, true);
            toServer.push(next);
          } else if (what === 1 && toServer.length > 0) toClient.push(...server.take(toServer.shift()!));
          else if (what === 2 && toClient.length > 0) {
            const type = toClient.shift()!;
            if (type === BACKEND.copyInResponse) copying = true;
            else if (type === BACKEND.errorResponse || type === 0) {
              copying = false;
              if (toServer.length + toClient.length === 0) asked = false;
            }
            answer(tracker, type);
          }
        };
        for (const what of order) step(what);
        while (rest.length + toServer.length + toClient.length > 0) for (const what of [0, 1, 2]) step(what);
        // Everything is answered: something runs only if the server waits for copy data.
        assert.equal(tracker.pending, server.working);
        if (!server.working) assert.equal(tracker.busy, false);
      }),
      { numRuns: 3000 },
    );
  });
});
