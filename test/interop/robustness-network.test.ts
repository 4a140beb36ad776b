// A network that swallows everything and closes nothing: the idle end comes on time all the same, and nothing is left of it.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { after, before, describe, test } from 'node:test';
import { freePort } from '../../scripts/free-port.ts';
import { Cable } from '../fixtures/cable.ts';
import { Lab, LOGIN } from '../fixtures/ssh/lab.ts';
import { type Running, until } from '../fixtures/ssh/processes.ts';

const TIMEOUT_S = 5;
/** The user is told for a second, and the last bytes have a moment to go out; then both sides are cut (SPEC 2.4). */
const CLOSE_MS = 2_000;

describe('a network that is gone without a word', { timeout: 110_000 }, () => {
  let lab: Lab;
  const cables: Cable[] = [];
  const clients: Running[] = [];
  before(async () => {
    const role = {
      kind: 'role',
      version: 'v7',
      metadata: { name: 'ssh' },
      spec: {
        options: { client_idle_timeout: `${TIMEOUT_S}s`, client_idle_warning: '1s' },
        allow: { logins: [LOGIN], node_labels: { '*': '*' } },
      },
    };
    lab = await Lab.start({ resources: [role] });
  });
  after(async () => {
    for (const client of clients) await client.stop();
    for (const cable of cables) cable.remove();
    await lab.stop();
  });

  const lay = async (to: number) => {
    const cable = await Cable.lay(to);
    cables.push(cable);
    return cable;
  };
  /** Waits for the end of the one session; how long it took after the decision, in milliseconds, and its event. */
  const ended = async () => {
    const known = lab.events('client.disconnect').length;
    await until(() => lab.events('client.disconnect').length > known, 'the end is decided', 30_000);
    const start = performance.now();
    await lab.quiet();
    return { took: performance.now() - start, event: lab.events('client.disconnect').at(-1)! };
  };

  test('between the user and the gateway', async () => {
    const cable = await lay(lab.nodePort);
    const ssh = lab.ssh('-tt', '-p', String(cable.port), 'web', 'echo ready; cat');
    clients.push(ssh);
    await ssh.shows('ready');
    cable.cut = true;
    // What is typed now never arrives.
    ssh.write('hello?\n');
    const { took, event } = await ended();
    assert.equal(event['cause'], 'idle');
    assert.equal(event['idle_timeout_ms'], TIMEOUT_S * 1000);
    assert.ok(took < CLOSE_MS + 3_000, `${took} ms`);
    await until(() => cable.farClosed === 1, "the gateway's socket is closed");
    assert.equal(ssh.exited, false);
  });

  test('between the gateway and the target', async () => {
    const cable = await lay(lab.sshdPort);
    const node = [...lab.policy.current.nodes.values()][0]!;
    lab.policy.put({ ...node, spec: { ...node.spec, addr: `127.0.0.1:${cable.port}` } });
    const ssh = lab.ssh('-tt', 'web', 'echo ready; cat');
    clients.push(ssh);
    await ssh.shows('ready');
    cable.cut = true;
    const { took, event } = await ended();
    lab.policy.put(node);
    assert.equal(event['cause'], 'idle');
    assert.ok(took < CLOSE_MS + 3_000, `${took} ms`);
    assert.equal((await ssh.ended).code, 255);
    assert.match(ssh.stdout, /Session ended: no activity for 5s/);
  });

  test('a target that takes the connection and never answers is given up, and the user told', async () => {
    const silent = net.createServer((socket) => socket.on('error', () => {}).resume());
    const port = await freePort();
    silent.listen(port, '127.0.0.1');
    await once(silent, 'listening');
    const node = [...lab.policy.current.nodes.values()][0]!;
    lab.policy.put({ ...node, spec: { ...node.spec, addr: `127.0.0.1:${port}` } });
    const { code, stderr } = await lab.ssh('web', 'true').ended;
    lab.policy.put(node);
    silent.close();
    assert.equal(code, 255);
    assert.match(stderr, /node "web" cannot be reached: the SSH server did not answer in time/);
    await lab.quiet();
  });
});
