import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Secret } from '../../core/secret.ts';
import { type HandshakeStep, RfbHandshakeError, rfbClientHandshake, rfbServerHandshake } from './handshake.ts';
import { encodeVncAuthResponse } from './vnc-auth.ts';

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex');
const ascii = (text: string): Buffer => Buffer.from(text, 'latin1');
const INIT = hex('0320 0258 20 18 00 01 00ff 00ff 00ff 10 08 00 000000 00000003 6c6162');
const PASSWORD = new Secret('secret99');

/** Runs a handshake against what the other side will say; returns its result and what it wrote. */
function run<T>(walk: Generator<HandshakeStep, T, Buffer>, script: Buffer) {
  let given: Buffer = Buffer.alloc(0);
  let offset = 0;
  const written: string[] = [];
  for (;;) {
    const step = walk.next(given);
    if (step.done === true) return { result: step.value, written, read: offset };
    if (step.value.kind === 'write') written.push(step.value.data.toString('hex'));
    if (step.value.kind === 'tls') written.push('TLS');
    if (step.value.kind === 'read') {
      if (offset + step.value.bytes > script.length) throw new Error('the script is over');
      given = script.subarray(offset, offset + step.value.bytes);
      offset += step.value.bytes;
    }
  }
}

const client = (script: Buffer[], options: { password?: Secret<string>; tls?: boolean } = {}) =>
  run(
    rfbClientHandshake({ username: 'vnc', password: options.password, tls: options.tls ?? false }),
    Buffer.concat(script),
  );
const V38 = ascii('RFB 003.008\n');
const CHALLENGE = Buffer.alloc(16, 0x5a);
const ANSWER = encodeVncAuthResponse(CHALLENGE, 'secret99').toString('hex');

describe('VNC authentication', () => {
  test('the answer that OpenSSL computes with single DES; a password has eight characters', () => {
    assert.equal(encodeVncAuthResponse(CHALLENGE, 'password').toString('hex'), '1f44f99ab2abc31a1f44f99ab2abc31a');
    assert.ok(
      encodeVncAuthResponse(CHALLENGE, 'password and more').equals(encodeVncAuthResponse(CHALLENGE, 'password')),
    );
  });
});

describe('the handshake with a desktop', () => {
  test('3.8 without authentication', () => {
    const { result, written, read } = client([V38, hex('01 01'), hex('00000000'), INIT]);
    assert.deepEqual(written, [V38.toString('hex'), '01', '01']);
    assert.equal(result.name, 'lab');
    assert.deepEqual([result.width, result.height], [800, 600]);
    assert.ok(result.data.equals(INIT));
    assert.equal(read, 12 + 2 + 4 + INIT.length);
  });

  test('3.8, 3.7 and 3.3 with a password', () => {
    const eight = client([V38, hex('02 01 02'), CHALLENGE, hex('00000000'), INIT], { password: PASSWORD });
    assert.deepEqual(eight.written.slice(1), ['02', ANSWER, '01'], 'the password is used where there is one');
    const seven = client([ascii('RFB 003.007\n'), hex('01 02'), CHALLENGE, hex('00000000'), INIT], {
      password: PASSWORD,
    });
    assert.equal(seven.written[0], ascii('RFB 003.007\n').toString('hex'));
    const three = client([ascii('RFB 003.003\n'), hex('00000002'), CHALLENGE, hex('00000000'), INIT], {
      password: PASSWORD,
    });
    assert.deepEqual(three.written, [ascii('RFB 003.003\n').toString('hex'), ANSWER, '01']);
  });

  test('3.7 and 3.3 without authentication have no result; a later version is answered with 3.8', () => {
    client([ascii('RFB 003.007\n'), hex('01 01'), INIT]);
    client([ascii('RFB 003.003\n'), hex('00000001'), INIT]);
    assert.equal(client([ascii('RFB 004.001\n'), hex('01 01 00000000'), INIT]).written[0], V38.toString('hex'));
    assert.equal(client([ascii('RFB 003.005\n'), hex('00000001'), INIT]).written[0]!.slice(-4), '330a');
  });

  test('VeNCrypt with a certificate: TLS before the password', () => {
    const script = [V38, hex('02 02 13'), hex('0002'), hex('00'), hex('02 00000105 00000102'), hex('01')];
    const { written } = client([...script, CHALLENGE, hex('00000000'), INIT], { password: PASSWORD, tls: true });
    assert.deepEqual(written.slice(1), ['13', '0002', '00000105', 'TLS', ANSWER, '01']);
  });

  test('refusals say why', () => {
    const refusal = (reason: string, script: Buffer[], options?: Parameters<typeof client>[1]) =>
      assert.throws(
        () => client(script, options),
        (error) => error instanceof RfbHandshakeError && error.reason === reason,
      );
    refusal('authentication', [V38, hex('01 02')]);
    refusal('unsupported', [V38, hex('01 10')], { password: PASSWORD });
    refusal('unsupported', [V38, hex('02 01 02')], { password: PASSWORD, tls: true });
    refusal('unsupported', [V38, hex('01 13 0002 00 01 00000102')], { password: PASSWORD, tls: true });
    refusal('unsupported', [V38, hex('01 13 0001')], { password: PASSWORD, tls: true });
    refusal('refused', [V38, hex('00 00000004 62757379')]);
    refusal('refused', [ascii('RFB 003.003\n'), hex('00000000 00000004 62757379')]);
    refusal('authentication', [V38, hex('01 02'), CHALLENGE, hex('00000001 00000003 6e6f21')], { password: PASSWORD });
    refusal('authentication', [ascii('RFB 003.007\n'), hex('01 02'), CHALLENGE, hex('00000001')], {
      password: PASSWORD,
    });
    for (const script of [ascii('HTTP/1.1 400'), Buffer.concat([V38, hex('00 7fffffff')])]) {
      assert.throws(() => client([script]), { code: 'decode' });
    }
    const longName = Buffer.concat([INIT.subarray(0, 20), hex('7fffffff')]);
    assert.throws(() => client([V38, hex('01 01 00000000'), longName]), { code: 'decode' });
  });
});

describe('the handshake with a browser', () => {
  test('no authentication is asked for, and nothing else is taken', () => {
    const { written } = run(rfbServerHandshake(), Buffer.concat([V38, hex('01'), hex('00')]));
    assert.deepEqual(written, [V38.toString('hex'), '0101', '00000000']);
    assert.throws(() => run(rfbServerHandshake(), Buffer.concat([V38, hex('02'), hex('00')])), { code: 'decode' });
    assert.throws(() => run(rfbServerHandshake(), ascii('RFB 003.003\n')), { code: 'decode' });
  });
});
