import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { stringify } from 'yaml';
import { decode } from '../../../test/fixtures/test-policy.ts';
import { NightlatchError } from '../../core/errors.ts';
import type { KubeCluster } from '../../resources/index.ts';
import { loadEndpoint } from './kubeconfig.ts';

const folder = mkdtempSync(join(tmpdir(), 'nightlatch-kubeconfig-'));
after(() => rmSync(folder, { recursive: true, force: true }));

function config(cluster: Record<string, unknown>, user: Record<string, unknown>): Record<string, unknown> {
  return {
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'main',
    contexts: [
      { name: 'main', context: { cluster: 'c', user: 'u', namespace: 'x' } },
      { name: 'lost', context: { cluster: 'nowhere' } },
    ],
    clusters: [{ name: 'c', cluster: { server: 'https://api.example:6443', ...cluster } }],
    users: [{ name: 'u', user }],
  };
}

function fromFile(value: unknown, context?: string): Promise<Awaited<ReturnType<typeof loadEndpoint>>> {
  const path = join(folder, 'config');
  writeFileSync(path, typeof value === 'string' ? value : stringify(value));
  return loadEndpoint(cluster({ kubeconfig_file: path, ...(context === undefined ? {} : { context }) }));
}

function cluster(spec: Record<string, unknown>): KubeCluster {
  return decode<KubeCluster>({ kind: 'kube_cluster', version: 'v3', metadata: { name: 'c' }, spec });
}

describe('how a cluster is reached', () => {
  test('a token and a CA inside the kubeconfig', async () => {
    const endpoint = await fromFile(
      config(
        { server: 'https://api.example/k8s/', 'certificate-authority-data': Buffer.from('PEM').toString('base64') },
        { token: 'secret' },
      ),
    );
    assert.equal(endpoint.origin, 'https://api.example');
    assert.equal(endpoint.basePath, '/k8s');
    assert.equal(endpoint.ca, 'PEM');
    assert.equal(endpoint.token?.reveal(), 'secret');
    assert.doesNotMatch(JSON.stringify(endpoint), /secret/);
  });

  test('files beside it, a client certificate, a token file', async () => {
    for (const name of ['ca.crt', 'user.crt', 'user.key']) writeFileSync(join(folder, name), name);
    const endpoint = await fromFile(
      config(
        { 'certificate-authority': 'ca.crt', 'tls-server-name': 'other' },
        { 'client-certificate': 'user.crt', 'client-key': 'user.key', tokenFile: 'token' },
      ),
    );
    assert.equal(endpoint.ca, 'ca.crt');
    assert.equal(endpoint.serverName, 'other');
    assert.equal(endpoint.clientCert?.certPem, 'user.crt');
    assert.equal(endpoint.clientCert?.keyPem.reveal(), 'user.key');
    assert.equal(endpoint.tokenFile, join(folder, 'token'));
  });

  test('what is wrong is named', async () => {
    const wrong: readonly [value: unknown, message: RegExp, context?: string][] = [
      ['a: [', /config: /],
      [{ kind: 'Config' }, /no current-context/],
      [config({}, {}), /no context "other"/, 'other'],
      [config({}, {}), /no cluster "nowhere"/, 'lost'],
      [config({ server: 'http://api.example' }, { token: 'x' }), /https URL/],
      [config({ server: 'api.example' }, { token: 'x' }), /no URL/],
      [config({ 'insecure-skip-tls-verify': true }, { token: 'x' }), /insecure-skip-tls-verify is not supported/],
      [config({ 'proxy-url': 'http://p' }, { token: 'x' }), /proxy-url is not supported/],
      [config({}, { exec: { command: 'aws' } }), /user "u": exec is not supported/],
      [config({}, { username: 'a', password: 'b' }), /username is not supported/],
      [config({}, { as: 'root' }), /as is not supported/],
      [config({}, { 'client-certificate-data': 'eA==' }), /go together/],
      [config({ 'certificate-authority': 'missing.crt' }, { token: 'x' }), /missing\.crt cannot be read/],
      [{ ...config({}, {}), users: [] }, /no user "u"/],
      [{ ...config({}, {}), clusters: [{ name: 'c' }] }, /clusters\.0/],
    ];
    for (const [value, message, context] of wrong) {
      await assert.rejects(
        fromFile(value, context),
        (error) => error instanceof NightlatchError && message.test(error.message),
        String(message),
      );
    }
  });

  test('a kubeconfig in the resource names no files of the daemon’s machine', async () => {
    const inline = (value: unknown) =>
      loadEndpoint(cluster({ kubeconfig: Buffer.from(stringify(value)).toString('base64') }));
    assert.equal((await inline(config({}, { token: 'x' }))).origin, 'https://api.example:6443');
    await assert.rejects(
      inline(config({ 'certificate-authority': '/etc/shadow' }, { token: 'x' })),
      /must not name files/,
    );
    await assert.rejects(inline(config({}, { tokenFile: '/etc/shadow' })), /must not name files/);
  });

  test('outside a pod there is no service account', async () => {
    await assert.rejects(loadEndpoint(cluster({ in_cluster: true })), /runs in no pod/);
  });
});
