import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { isSourceAddressList, sourceAddressMatches } from './source-address.ts';

describe('source-address', () => {
  test('addresses and ranges of both kinds', () => {
    const matches: [string, string, boolean][] = [
      ['10.0.0.1', '10.0.0.1', true],
      ['10.0.0.1', '10.0.0.2', false],
      ['10.0.0.0/8,192.168.0.0/16', '192.168.3.4', true],
      ['10.0.0.0/8, 192.168.0.0/16', '192.168.3.4', true],
      ['0.0.0.0/0', '203.0.113.9', true],
      ['0.0.0.0/0', '2001:db8::1', false],
      ['::/0', '203.0.113.9', false],
      ['2001:db8::/32', '2001:db8:1::1', true],
      ['10.0.0.0/8', '::ffff:10.1.1.1', true],
      ['::ffff:10.0.0.0/104', '10.1.1.1', true],
      ['::ffff:10.0.0.1', '10.0.0.1', true],
      ['fe80::/10', 'fe80::1%eth0', true],
    ];
    for (const [list, ip, wanted] of matches) assert.equal(sourceAddressMatches(list, ip), wanted, `${list} and ${ip}`);
  });

  test('one bad entry spoils the list', () => {
    for (const bad of [
      '',
      'x',
      '10.0.0.0/33',
      '10.0.0.0/-1',
      '10.0.0.0/',
      '10.0.0.0/8/8',
      '!10.0.0.0/8',
      '10.0.0',
      '0x0a000001',
      '012.0.0.1',
      '::/129',
      'fe80::1%eth0',
      '10.0.0.0/08a',
    ]) {
      assert.equal(isSourceAddressList(bad), false, bad);
      assert.equal(sourceAddressMatches(bad, '10.0.0.1'), false, bad);
      assert.equal(sourceAddressMatches(`10.0.0.1,${bad}`, '10.0.0.1'), false, bad);
    }
    assert.equal(sourceAddressMatches(Array(65).fill('10.0.0.1').join(','), '10.0.0.1'), false);
  });

  test('whatever the texts, the answer is yes or no', () => {
    fc.assert(
      fc.property(
        fc.string(),
        fc.oneof(fc.ipV4(), fc.ipV6(), fc.string()),
        (list, ip) => typeof sourceAddressMatches(list, ip) === 'boolean',
      ),
    );
    fc.assert(fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), (ip) => sourceAddressMatches(ip, ip)));
    fc.assert(
      fc.property(fc.ipV4(), fc.nat(32), fc.ipV4(), (network, bits, ip) => {
        const number = (text: string) => text.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
        const shift = 2 ** (32 - bits);
        const wanted = Math.floor(number(network) / shift) === Math.floor(number(ip) / shift);
        assert.equal(sourceAddressMatches(`${network}/${bits}`, ip), wanted);
      }),
    );
  });
});
