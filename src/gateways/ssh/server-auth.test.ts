import assert from 'node:assert/strict';
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { duplexPair } from 'node:stream';
import { describe, test } from 'node:test';
import { FakeClock, settle } from '../../../test/fixtures/fake-clock.ts';
import { memoryStore, testMasterKey } from '../../../test/fixtures/identity.ts';
import { type ClusterAuthorities, loadCertAuthority } from '../../identity/certificate-authority.ts';
import type { SshCredential } from '../../identity/types.ts';
import { SshReader, SshWriter } from '../../wire/ssh/buffer.ts';
import { decodeAuthorizedKey, encodeAuthorizedKey, encodePublicKey, sshSign } from '../../wire/ssh/keys.ts';
import { MSG } from '../../wire/ssh/messages.ts';
import { hostKeysOf } from './host-keys.ts';
import { type Admission, type AuthenticatedClient, authenticateClient } from './server-auth.ts';
import { SshTransport } from './transport.ts';

/** A person's certificate for a fresh key, as `tsh login` gets it. */
async function login(ca: ClusterAuthorities): Promise<SshCredential> {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  const { sshCert } = await ca.issueUserCertificates({
    user: 'alice',
    principals: ['root'],
    sshPublicKey: encodeAuthorizedKey(encodePublicKey(publicKey)),
    ttlMs: 60_000,
    extensions: ['permit-pty'],
  });
  return { privateKey, certificate: decodeAuthorizedKey(sshCert!).blob };
}

async function start(
  admission: (client: AuthenticatedClient) => Promise<Admission> = async () => ({ ok: true }),
  written = Promise.resolve(),
) {
  const clock = new FakeClock();
  const ca = await loadCertAuthority({ store: memoryStore(clock), masterKey: testMasterKey, clock, clusterName: 'c' });
  const [a, b] = duplexPair();
  const server = new SshTransport({ stream: a, clock, role: 'server', hostKeys: hostKeysOf(ca.mintSshHost(['web'])) });
  const client = new SshTransport({
    stream: b,
    clock,
    role: 'client',
    hostKeyAlgorithms: ['ssh-ed25519-cert-v01@openssh.com'],
    verifyHostKey: (blob) => ca.verifySshHost(blob, ['web']),
  });
  const refusals: string[] = [];
  const admitted: AuthenticatedClient[] = [];
  authenticateClient(
    {
      transport: server,
      ca,
      clientIp: '192.0.2.7',
      checkLogin: true,
      admit: admission,
      onRefused({ reason, certificate }) {
        refusals.push(reason);
        return certificate ? written : undefined;
      },
    },
    (who) => admitted.push(who),
  );
  const received: Buffer[] = [];
  client.onAuthPacket = (packet) => void received.push(Buffer.from(packet));
  let closed = '';
  let serverClosed = '';
  client.onClose = ({ detail }) => {
    closed = detail;
  };
  server.onClose = ({ detail }) => {
    serverClosed = detail;
  };
  // Time passes slowly: a closing connection gives up on a silent peer after a while, a login is never that slow.
  const until = async (condition: () => boolean) => {
    for (let turn = 0; turn < 5_000; turn++) {
      if (condition()) return;
      if (turn < 200) await settle();
      else await clock.advance(1);
    }
    assert.fail('did not come about');
  };
  const credential = await login(ca);
  await until(() => client.exchanges === 1 && server.exchanges === 1);
  client.send(new SshWriter().byte(MSG.SERVICE_REQUEST).string('ssh-userauth').finish());
  return {
    ca,
    client,
    server,
    received,
    admitted,
    refusals,
    closed: () => closed,
    serverClosed: () => serverClosed,
    until,
    credential,
    /** Sends a public key request and returns the type of the answer. */
    async ask(request: Buffer): Promise<number> {
      const before = received.length;
      client.send(request);
      await until(() => received.length > before || closed !== '' || serverClosed !== '');
      return received.at(before)?.[0] ?? 0;
    },
  };
}

interface RequestOptions {
  readonly login?: string;
  readonly service?: string;
  readonly algorithm?: string;
  readonly sign?: KeyObject | false;
  readonly sessionId?: Buffer;
}

function request(transport: SshTransport, credential: SshCredential, options: RequestOptions = {}): Buffer {
  const sign = options.sign ?? credential.privateKey;
  const writer = new SshWriter()
    .byte(MSG.USERAUTH_REQUEST)
    .string(options.login ?? 'root')
    .string(options.service ?? 'ssh-connection')
    .string('publickey')
    .boolean(sign !== false)
    .string(options.algorithm ?? 'ssh-ed25519-cert-v01@openssh.com')
    .string(credential.certificate);
  if (sign === false) return writer.finish();
  const signed = new SshWriter()
    .string(options.sessionId ?? transport.sessionId)
    .bytes(writer.finish())
    .finish();
  return writer.string(sshSign(sign, signed)).finish();
}

describe('authentication of clients', () => {
  test('a certificate with a signature by its key', async () => {
    const lab = await start();
    assert.equal(await lab.ask(request(lab.client, lab.credential, { sign: false })), MSG.SERVICE_ACCEPT);
    await lab.until(() => lab.received.length === 2);
    assert.equal(lab.received[1]![0], MSG.USERAUTH_PK_OK);
    assert.equal(await lab.ask(request(lab.client, lab.credential)), MSG.USERAUTH_SUCCESS);
    assert.equal(lab.admitted[0]!.identity.user, 'alice');
    assert.equal(lab.server.authenticated, true);
  });

  test('signatures that prove nothing', async () => {
    const lab = await start();
    await lab.until(() => lab.received.length === 1);
    const { credential } = lab;
    const other = generateKeyPairSync('ed25519').privateKey;
    const cases: RequestOptions[] = [
      { sign: other },
      { sessionId: Buffer.alloc(32) },
      { login: 'somebody' },
      { algorithm: 'rsa-sha2-512-cert-v01@openssh.com' },
      { algorithm: 'ssh-ed25519' },
    ];
    for (const options of cases) {
      assert.equal(
        await lab.ask(request(lab.client, credential, options)),
        MSG.USERAUTH_FAILURE,
        JSON.stringify(options),
      );
    }
    assert.equal(lab.refusals.length, cases.length);
    assert.deepEqual(lab.admitted, []);
    assert.equal(lab.server.authenticated, false);
  });

  test('other methods are answered with the one there is, and cost nothing', async () => {
    const lab = await start();
    await lab.until(() => lab.received.length === 1);
    for (const method of ['none', 'password', 'keyboard-interactive']) {
      const packet = new SshWriter()
        .byte(50)
        .string('root')
        .string('ssh-connection')
        .string(method)
        .boolean(false)
        .string('x');
      assert.equal(await lab.ask(packet.finish()), MSG.USERAUTH_FAILURE);
      assert.deepEqual(new SshReader(lab.received.at(-1)!, 1).nameList(), ['publickey']);
    }
    assert.deepEqual(lab.refusals, Array(3).fill('no certificate was shown'));
  });

  test('a refusal is told when it has been written down', async () => {
    const written = Promise.withResolvers<void>();
    const lab = await start(undefined, written.promise);
    await lab.until(() => lab.received.length === 1);
    lab.client.send(request(lab.client, lab.credential, { login: 'somebody' }));
    await lab.until(() => lab.refusals.length === 1);
    for (let turn = 0; turn < 20; turn++) await settle();
    assert.equal(lab.received.length, 1);
    written.resolve();
    await lab.until(() => lab.received.length === 2);
    assert.equal(lab.received[1]![0], MSG.USERAUTH_FAILURE);
    assert.equal(await lab.ask(request(lab.client, lab.credential)), MSG.USERAUTH_SUCCESS);
  });

  test('too many attempts end the connection', async () => {
    const lab = await start();
    await lab.until(() => lab.received.length === 1);
    const other = generateKeyPairSync('ed25519').privateKey;
    for (let i = 0; i < 10; i++) await lab.ask(request(lab.client, lab.credential, { sign: other }));
    await lab.until(() => lab.closed() !== '');
    assert.match(lab.closed(), /Too many authentication failures/);
  });

  test('user names that are empty or have control characters', async () => {
    for (const login of ['', 'a\nb', 'a\u001b[2J', 'a\u0085b', 'x'.repeat(300)]) {
      const lab = await start();
      await lab.ask(request(lab.client, lab.credential, { login }));
      await lab.until(() => lab.serverClosed() !== '');
      assert.match(lab.serverClosed(), /control characters|longer/);
      assert.deepEqual(lab.admitted, []);
    }
  });

  test('packets of the connection before the end of authentication', async () => {
    const lab = await start();
    await lab.ask(Buffer.from([90, 0, 0, 0, 0]));
    await lab.until(() => lab.serverClosed() !== '');
    assert.match(lab.serverClosed(), /before authentication/);
  });

  test('a refusal says why, in words', async () => {
    const lab = await start(async () => ({ ok: false, text: 'access to node "web" denied: no role' }));
    await lab.until(() => lab.received.length === 1);
    assert.equal(await lab.ask(request(lab.client, lab.credential)), MSG.USERAUTH_BANNER);
    assert.equal(new SshReader(lab.received.at(-1)!, 1).utf8(), 'access to node "web" denied: no role\r\n');
    await lab.until(() => lab.closed() !== '');
    assert.match(lab.closed(), /denied: no role/);
  });

  test('requests while the first is being decided', async () => {
    const lab = await start(() => new Promise(() => {}));
    await lab.until(() => lab.received.length === 1);
    lab.client.send(request(lab.client, lab.credential));
    lab.client.send(request(lab.client, lab.credential));
    await lab.until(() => lab.serverClosed() !== '');
    assert.match(lab.serverClosed(), /too many authentication requests/);
    assert.deepEqual(lab.admitted, []);
  });

  test('another service', async () => {
    const lab = await start();
    await lab.ask(request(lab.client, lab.credential, { service: 'other' }));
    await lab.until(() => lab.serverClosed() !== '');
    assert.match(lab.serverClosed(), /service/);
  });

  test('a certificate that the gateway itself uses for targets', async () => {
    const lab = await start();
    await lab.until(() => lab.received.length === 1);
    const minted = lab.ca.mintSshUser({ user: 'alice', login: 'root', ttlMs: 60_000, extensions: [] });
    assert.equal(await lab.ask(request(lab.client, minted)), MSG.USERAUTH_FAILURE);
  });
});
