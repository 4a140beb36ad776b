import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import type { Profile } from './profile.ts';
import { namedLogin } from './ssh.ts';
import { checkCluster, checkNodeName, parseSshArguments, splitTarget } from './ssh-arguments.ts';

describe('the arguments of tsh ssh', () => {
  const cases: [args: string[], expected: { flags?: string[]; login?: string; node: string; command?: string[] }][] = [
    [['web'], { node: 'web' }],
    [['root@web', 'ls', '-l'], { login: 'root', node: 'web', command: ['ls', '-l'] }],
    [['-l', 'root', 'web'], { login: 'root', node: 'web' }],
    [['--login=root', 'web'], { login: 'root', node: 'web' }],
    [['-tt', 'web'], { flags: ['-t', '-t'], node: 'web' }],
    [['-NL', '1:h:2', 'web'], { flags: ['-N', '-L', '1:h:2'], node: 'web' }],
    [['-L1:h:2', '-D', '3', '-R4:h:5', 'web'], { flags: ['-L', '1:h:2', '-D', '3', '-R', '4:h:5'], node: 'web' }],
    [
      ['-o', 'A=b', '-oC=d', '-p', '22', '-v', '-A', 'web'],
      { flags: ['-o', 'A=b', '-o', 'C=d', '-p', '22', '-v', '-A'], node: 'web' },
    ],
    [['-A', '--', 'web', '--', 'x'], { flags: ['-A'], node: 'web', command: ['--', 'x'] }],
    [['a@b@web'], { login: 'a@b', node: 'web' }],
    [['--port=2022', '--forward-agent', '--tty', 'web'], { flags: ['-t', '-A', '-p', '2022'], node: 'web' }],
  ];
  for (const [args, expected] of cases) {
    test(args.join(' '), () => {
      const { flags, login, node, command } = parseSshArguments(args);
      assert.deepEqual({ flags, login, node, command }, { flags: [], login: undefined, command: [], ...expected });
    });
  }

  test('options of tsh are told from those of ssh', () => {
    const { options } = parseSshArguments(['--proxy=p:1', '-i', 'id.pem', '--user', 'ann', '--insecure', 'web']);
    assert.deepEqual(options, {
      proxy: 'p:1',
      identity: 'id.pem',
      user: 'ann',
      cluster: undefined,
      insecure: true,
      help: false,
    });
    assert.ok(parseSshArguments(['-h']).options.help);
    assert.ok(parseSshArguments(['--help']).options.help);
  });

  test('what nobody knows is refused', () => {
    for (const args of [[], ['-L'], ['--unheard', 'web'], ['-Z', 'web'], ['--proxy'], ['-l', '', 'web']]) {
      assert.throws(() => parseSshArguments(args), { code: 'bad_parameter' }, args.join(' '));
    }
  });

  test('no name of a node or login that is let through can be taken for a flag or reach a shell', () => {
    for (const name of [
      '-x',
      '--',
      '',
      '.',
      '..',
      'a b',
      'a;b',
      'a$b',
      'a`b',
      'a\nb',
      'a\u001bb',
      'a/b',
      'a:b',
      'a@',
      '%h',
      'ä',
    ]) {
      assert.throws(() => checkNodeName(name), { code: 'bad_parameter' }, JSON.stringify(name));
    }
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 40 }), (text) => {
        try {
          const { login = 'x', node } = splitTarget(text);
          assert.match(node, /^[A-Za-z0-9_][A-Za-z0-9._-]*$/);
          assert.match(login, /^[A-Za-z0-9_.][A-Za-z0-9._@+=\\-]*$/);
        } catch (error) {
          assert.equal((error as { code?: string }).code, 'bad_parameter');
        }
      }),
    );
  });
});

test('another cluster than the sign-in’s is refused, not passed over', () => {
  assert.equal(parseSshArguments(['--cluster=leaf', 'web']).options.cluster, 'leaf');
  checkCluster(undefined, 'example.com');
  checkCluster('example.com', 'example.com');
  assert.throws(() => checkCluster('leaf', 'example.com'), {
    code: 'not_found',
    message: 'cluster "leaf" not found: this sign-in is for example.com',
  });
});

test('a login that the certificate does not name is refused before ssh is asked', () => {
  const profile = { logins: ['alice', 'root'] } as unknown as Profile;
  assert.equal(namedLogin('root', profile), 'root');
  assert.throws(() => namedLogin('deploy', profile), {
    code: 'access_denied',
    message:
      'your certificate does not name the login deploy (it names alice, root). If your roles have changed, sign in again: tsh login',
  });
});
