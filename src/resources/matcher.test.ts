import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { compileMatcher, matcherProblem } from './matcher.ts';

describe('matchers', () => {
  const cases: [string, string[], string[]][] = [
    ['web', ['web'], ['we', 'webs', 'WEB', '']],
    ['*', ['', 'anything'], []],
    ['web-*', ['web-', 'web-1'], ['web', 'xweb-1']],
    ['*-prod', ['-prod', 'a-prod'], ['prod', 'a-prod1']],
    ['a*b*c', ['abc', 'axxbyyc', 'abbc'], ['ac', 'abcd', 'acb']],
    ['ab*ba', ['abba', 'abxba'], ['aba']],
    ['a.c', ['a.c'], ['abc']],
    ['^a.c$', ['abc', 'a.c'], ['xabc', 'abcd']],
    ['^web-[0-9]+$', ['web-1', 'web-42'], ['web-', 'web-x']],
    ['^(dev|test)-[a-z]+$', ['dev-a', 'test-b'], ['prod-a']],
    ['^web(-prod|-dev)?$', ['web', 'web-prod'], ['web-test']],
    ['^half', ['^half'], ['half']],
  ];
  for (const [text, yes, no] of cases) {
    test(text, () => {
      assert.equal(matcherProblem(text), undefined);
      for (const value of yes) assert.equal(compileMatcher(text)(value), true, `${text} should select ${value}`);
      for (const value of no) assert.equal(compileMatcher(text)(value), false, `${text} should not select ${value}`);
    });
  }

  const refused = [
    '^(a+)+$',
    '^(a*)*$',
    '^(a|a)*$',
    '^(a|aa)+$',
    '^([a-z]+-)*x$',
    '^(.*)*$',
    '^((a+))+$',
    '^(?:a+){2,}$',
    '^(a?){50}b$',
    '^.*.*.*.*.*x$',
    `^${'a?'.repeat(40)}${'a'.repeat(40)}$`,
    `^${'(a|a)'.repeat(40)}b$`,
    '^(a)\\1$',
    '^(?=a)a$',
    '^(?<!a)b$',
    '^[$',
    '^($',
    '^a{5000}$',
    `^${'a'.repeat(300)}$`,
  ];
  for (const text of refused) {
    test(`refused: ${text.slice(0, 40)}`, () => {
      assert.ok(matcherProblem(text) !== undefined);
      assert.throws(() => compileMatcher(text), { code: 'bad_parameter' });
    });
  }

  test('what is accepted ends soon, whatever the value', () => {
    const piece = fc.constantFrom('a', 'b', '.', '[ab]', '(a|b)', '(a)', '(ab|a)', '\\w');
    const suffix = fc.constantFrom('', '', '*', '+', '?', '{2}', '{1,3}');
    const pattern = fc
      .array(fc.tuple(piece, suffix), { minLength: 1, maxLength: 12 })
      .map((parts) => `^${parts.map((part) => part.join('')).join('')}$`);
    fc.assert(
      fc.property(pattern, (text) => {
        if (matcherProblem(text) !== undefined) return;
        const matcher = compileMatcher(text);
        const started = process.cpuUsage().user;
        matcher(`${'a'.repeat(255)}!`);
        assert.ok(process.cpuUsage().user - started < 5_000_000, text);
      }),
      { numRuns: 200 },
    );
  });

  test('globs agree with regular expressions', () => {
    const text = fc.array(fc.constantFrom('a', 'b', '*', '-'), { maxLength: 8 }).map((chars) => chars.join(''));
    const value = fc.array(fc.constantFrom('a', 'b', '-'), { maxLength: 10 }).map((chars) => chars.join(''));
    fc.assert(
      fc.property(text, value, (glob, candidate) => {
        const regexp = new RegExp(`^${glob.replaceAll('*', '.*')}$`);
        assert.equal(compileMatcher(glob)(candidate), regexp.test(candidate));
      }),
    );
  });

  test('a value too long for a regular expression is an error, not an answer', () => {
    assert.throws(() => compileMatcher('^a+$')('a'.repeat(257)), { code: 'limit_exceeded' });
  });
});
