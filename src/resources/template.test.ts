import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { expandTemplate, templateProblem } from './template.ts';

const traits = { logins: ['root', 'alice'], email: ['alice@example.com', 'nobody'], 'my-team': ['blue'] };

describe('templates', () => {
  const cases: [string, string[]][] = [
    ['root', ['root']],
    ['{{internal.logins}}', ['root', 'alice']],
    ['{{ internal.logins }}', ['root', 'alice']],
    ['{{external.logins}}', ['root', 'alice']],
    ['{{external["my-team"]}}', ['blue']],
    ['{{external.my-team}}', ['blue']],
    ['x-{{internal.logins}}-y', ['x-root-y', 'x-alice-y']],
    ['{{email.local(external.email)}}', ['alice']],
    ['{{internal.missing}}', []],
    ['{{internal.constructor}}', []],
    ['{{internal.__proto__}}', []],
  ];
  for (const [text, values] of cases) {
    test(text, () => {
      assert.equal(templateProblem(text), undefined);
      assert.deepEqual(expandTemplate(text, traits), values);
    });
  }
  const refused: [string, RegExp][] = [
    ['{{internal.logins', /not closed/],
    ['internal.logins}}', /not closed/],
    ['{{}}', /cannot be read/],
    ['{{logins}}', /cannot be read/],
    ['{{user.logins}}', /unknown kind user/],
    ['{{internal.a}}{{internal.b}}', /more than one/],
    ['{{regexp.replace(external.email, "a", "b")}}', /function regexp.replace, which is not supported/],
    ['{{email.local(x)}}', /cannot be read/],
  ];
  for (const [text, says] of refused) {
    test(`refused: ${text}`, () => {
      assert.match(templateProblem(text) ?? '', says);
      assert.throws(() => expandTemplate(text, traits), { code: 'bad_parameter' });
    });
  }
});
