// The machine's date is set forward and back under a real daemon (libfaketime: the date alone, not the monotonic clock) with sessions open.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { LOGIN, NODE, type SignedIn, startSignedIn } from '../fixtures/signed-in.ts';

const TIMEOUT_S = 14;

/** What a date that is wrong changes: stamps. Everything else is read from these fields, which the monotonic clock gives. */
interface LoggedEvent {
  readonly event: string;
  readonly sid: string;
  readonly user?: string;
  readonly error?: string;
  readonly cause?: string;
  readonly longest_idle_ms?: number;
  readonly overshoot_ms?: number;
  readonly duration_ms?: number;
}

describe('a daemon whose date changes', { timeout: 115_000 }, () => {
  const dir = mkdtempSync(join(tmpdir(), 'nightlatch-date-'));
  let world: SignedIn;

  /** `+30d`, `-1d`, `+0`: what the daemon's date is off by, from now on. */
  const setDate = (offset: string) => {
    writeFileSync(join(dir, 'next'), `${offset}\n`);
    renameSync(join(dir, 'next'), join(dir, 'offset'));
  };

  before(async () => {
    setDate('+0');
    const files = execFileSync('dpkg-query', ['-L', 'libfaketime'], { encoding: 'utf8' }).split('\n');
    world = await startSignedIn({
      auth: `client_idle_timeout: ${TIMEOUT_S}s, client_idle_warning: never, disconnect_expired_cert: yes`,
      env: {
        LD_PRELOAD: files.find((file) => file.endsWith('/libfaketime.so.1'))!,
        FAKETIME_TIMESTAMP_FILE: join(dir, 'offset'),
        FAKETIME_NO_CACHE: '1',
        DONT_FAKE_MONOTONIC: '1',
        NO_FAKE_STAT: '1',
      },
    });
  });
  after(async () => {
    await world?.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  /** Whether a new session can be had now, and what is said where not. */
  const newSession = async () => {
    const { status, stdout, stderr } = await world.daemon.tsh(['ssh', `${LOGIN}@${NODE}`, 'echo in']);
    return status === 0 ? stdout : stderr;
  };

  const events = async () =>
    (await world.ok('tctl', 'audit', 'query', '--limit=1000', '--format=json'))
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as LoggedEvent);

  test('open sessions are neither ended nor prolonged by it, and certificates are judged by it', async () => {
    const shell = ['-tt', `${LOGIN}@${NODE}`, 'stty -echo; echo ready; cat'];
    const busy = world.ssh(...shell);
    await busy.shows('ready');
    const begun = performance.now();
    const idle = world.ssh(...shell);
    await idle.shows('ready');
    let typed = 0;
    const typing = setInterval(() => busy.write(`still here ${++typed}\n`), 500);
    try {
      const dates: [offset: string, refusal: RegExp][] = [
        ['+30d', /expired/],
        ['-30d', /not valid yet/],
      ];
      for (const [offset, refusal] of dates) {
        setDate(offset);
        assert.doesNotMatch(await newSession(), /^in$/m);
        const refused = (await events()).filter(({ event, error }) => event === 'auth' && refusal.test(error ?? ''));
        assert.deepEqual([refused.length, refused[0]?.user], [1, 'alice'], world.daemon.log());
        await busy.shows(`still here ${typed + 1}\r`);
      }
      setDate('+0');
      assert.equal(await newSession(), 'in\n');

      const { code, stdout } = await idle.ended;
      assert.ok(performance.now() - begun >= TIMEOUT_S * 1_000);
      assert.equal(code, 255);
      assert.match(stdout, /Session ended: no activity for 14s/);
      assert.equal(busy.exited, false);
      await busy.shows(`still here ${typed + 1}\r`);
    } finally {
      clearInterval(typing);
    }
    busy.end('\u0004');
    await busy.ended;

    const logged = await events();
    const ended = logged.filter(({ event }) => event === 'client.disconnect');
    assert.deepEqual(ended.map(({ cause }) => cause).sort(), ['client_closed', 'client_closed', 'idle']);
    const cut = ended.find(({ cause }) => cause === 'idle')!;
    assert.ok(cut.overshoot_ms! >= 0 && cut.overshoot_ms! < 5_000, JSON.stringify(cut));
    const end = logged.find(({ event, sid }) => event === 'session.end' && sid === cut.sid)!;
    assert.ok(end.longest_idle_ms! >= TIMEOUT_S * 1_000 && end.longest_idle_ms! < (TIMEOUT_S + 5) * 1_000);
    assert.ok(end.duration_ms! < 60_000, JSON.stringify(end));
  });
});
