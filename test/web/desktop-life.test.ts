import assert from 'node:assert/strict';
import { beforeEach, describe, mock, test } from 'node:test';
import { DesktopLife } from '../../web/src/desktop/life.ts';

describe("the page's side of a desktop session", () => {
  let heard: string[];
  let life: DesktopLife;

  beforeEach(() => {
    mock.timers.reset();
    mock.timers.enable({ apis: ['setTimeout'] });
    heard = [];
    life = new DesktopLife(
      {
        ready: () => heard.push('ready'),
        warning: () => heard.push('warning'),
        kept: (text) => heard.push(`kept ${text}`),
        policy: (ms, source) => heard.push(`policy ${ms} ${source}`),
        end: ({ cause, text, problem }) => heard.push(`end ${cause} ${text} ${problem ?? ''}`.trim()),
      },
      () => heard.push('blank'),
    );
  });

  const warning = {
    type: 'warning',
    text: '',
    remainingMs: 60_000,
    idleTimeoutMs: 600_000,
    timeoutSource: '',
  } as const;

  test('the picture is gone before the end is told, and the end is told once', () => {
    life.message({ type: 'end', cause: 'idle', text: 'Session ended.' });
    life.message({ type: 'kept', text: 'late' });
    life.closed(4001, 'Session ended.');
    assert.deepEqual(heard, ['blank', 'end idle Session ended.']);
  });

  test('a close without a word: what the gateway wrote into it, or that it is lost', () => {
    life.closed(4001, 'Session ended: killed');
    assert.deepEqual(heard, ['blank', 'end error Session ended: killed']);
    heard = [];
    const other = new DesktopLife({ end: ({ cause, text }) => heard.push(`${cause} ${text}`) }, () => undefined);
    other.closed(1006, '');
    assert.deepEqual(heard, ['lost The connection to the gateway was lost.']);
  });

  test('signs of life keep the picture; without one for 75 seconds it goes blank', () => {
    life.message({ type: 'ready', sessionId: '', idleTimeoutMs: 0, timeoutSource: '', clipboard: true });
    for (let i = 0; i < 10; i += 1) {
      mock.timers.tick(20_000);
      life.message({ type: 'alive' });
    }
    mock.timers.tick(74_999);
    assert.deepEqual(heard, ['ready']);
    mock.timers.tick(1);
    assert.deepEqual(heard, ['ready', 'blank', 'end lost The connection to the gateway was lost.']);
  });

  test('a warning that nothing takes back blanks the picture when its time is over, even if the end never comes', () => {
    life.message(warning);
    for (let i = 0; i < 3; i += 1) {
      mock.timers.tick(20_000);
      life.message({ type: 'alive' });
    }
    mock.timers.tick(4_999);
    assert.deepEqual(heard, ['warning']);
    mock.timers.tick(1);
    assert.deepEqual(heard.slice(1), ['blank', 'end lost The connection to the gateway was lost.']);
  });

  test('a warning that was taken back does not', () => {
    life.message(warning);
    mock.timers.tick(30_000);
    life.message({ type: 'kept', text: 'goes on' });
    life.message({ type: 'policy', idleTimeoutMs: 1, timeoutSource: 'role x' });
    mock.timers.tick(70_000);
    assert.deepEqual(heard, ['warning', 'kept goes on', 'policy 1 role x']);
  });
});
