import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { describeRequest, isSet, readRequestInfo } from './request-info.ts';

/** `verb group/version resource/subresource namespace/name` of a request. */
function read(method: string, url: string): string {
  const info = readRequestInfo(method, url);
  if (info === undefined) return 'refused';
  if (!info.isResource) return `${info.verb} ${info.path}`;
  return `${info.verb} ${info.apiGroup}/${info.apiVersion} ${info.resource}/${info.subresource} ${info.namespace}/${info.name}`;
}

describe('what a request is about', () => {
  test('as the API server reads it', () => {
    const cases: readonly [method: string, url: string, expected: string][] = [
      ['GET', '/api/v1/pods', 'list /v1 pods/ /'],
      ['GET', '/api/v1/pods?watch=true', 'watch /v1 pods/ /'],
      ['GET', '/api/v1/pods?watch=', 'watch /v1 pods/ /'],
      ['GET', '/api/v1/pods?watch=0', 'list /v1 pods/ /'],
      ['GET', '/api/v1/namespaces/default/pods/web', 'get /v1 pods/ default/web'],
      ['GET', '/api/v1/namespaces/default/pods/web?watch=true', 'get /v1 pods/ default/web'],
      ['HEAD', '/api/v1/namespaces/default/pods/web', 'get /v1 pods/ default/web'],
      ['POST', '/api/v1/namespaces/default/pods', 'create /v1 pods/ default/'],
      ['PUT', '/api/v1/namespaces/default/pods/web/status', 'update /v1 pods/status default/web'],
      [
        'PATCH',
        '/apis/apps/v1/namespaces/default/deployments/web/scale',
        'patch apps/v1 deployments/scale default/web',
      ],
      ['DELETE', '/api/v1/namespaces/default/pods/web', 'delete /v1 pods/ default/web'],
      ['DELETE', '/api/v1/namespaces/default/pods', 'deletecollection /v1 pods/ default/'],
      ['GET', '/api/v1/namespaces/default/pods/web/exec?command=ls', 'exec /v1 pods/exec default/web'],
      ['POST', '/api/v1/namespaces/default/pods/web/attach', 'exec /v1 pods/attach default/web'],
      ['POST', '/api/v1/namespaces/default/pods/web/portforward', 'portforward /v1 pods/portforward default/web'],
      ['GET', '/api/v1/namespaces/default/pods/web/log?follow=true', 'get /v1 pods/log default/web'],
      ['GET', '/api/v1/namespaces/default', 'get /v1 namespaces/ /default'],
      ['PUT', '/api/v1/namespaces/default/finalize', 'update /v1 namespaces/finalize /default'],
      ['GET', '/api/v1/namespaces', 'list /v1 namespaces/ /'],
      ['GET', '/api/v1/watch/namespaces/default/pods', 'watch /v1 pods/ default/'],
      ['GET', '/api/v1/watch/namespaces/default/pods/web', 'watch /v1 pods/ default/web'],
      ['GET', '/apis/metrics.k8s.io/v1beta1/nodes', 'list metrics.k8s.io/v1beta1 nodes/ /'],
      ['GET', '/api', 'get /api'],
      ['GET', '/api/v1', 'get /api/v1'],
      ['GET', '/apis/apps/v1', 'get /apis/apps/v1'],
      ['GET', '/openapi/v3', 'get /openapi/v3'],
      ['GET', '/', 'get /'],
      ['GET', '/api/v1/pods/', 'list /v1 pods/ /'],
      ['GET', '/api/v1/namespaces/default/pods/web/proxy/a%2Fb', 'get /v1 pods/proxy default/web'],
    ];
    for (const [method, url, expected] of cases) assert.equal(read(method, url), expected, `${method} ${url}`);
  });

  test('what could be read in two ways is refused', () => {
    for (const url of [
      '/api/v1/../v1/pods',
      '/api//v1/pods',
      '/api/v1/%2e%2e/pods',
      '/api/v1/%zz',
      'http://x/api',
      '/api/v1/pods%00',
      '/api\\v1',
      '/api/v1/pods#x',
      '/api/v1/pods%23x',
      '/api/v1/./pods',
      '/api/v1/namespaces%2Fsecret%2Fpods%2Fvault',
      '/api/v1/namespaces/default/pods%2fweb',
      '/api/v1/proxy/namespaces%2Fkube-system/pods/a',
      '/api/v1/namespaces/x%2Fy/pods/web/proxy/a',
    ])
      assert.equal(read('GET', url), 'refused', url);
  });

  test('booleans as the API server takes them', () => {
    const query = new URLSearchParams('a=true&b=1&c=&d=false&e=0&f=False&g=yes');
    assert.deepEqual(
      ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'].map((name) => isSet(query, name)),
      [true, true, true, false, false, false, true, false],
    );
  });

  test('described for people', () => {
    const say = (method: string, url: string) => describeRequest(readRequestInfo(method, url)!);
    assert.equal(say('GET', '/api/v1/namespaces/default/pods/web'), 'get pods "web" in namespace "default"');
    assert.equal(say('GET', '/apis/apps/v1/deployments'), 'list deployments.apps');
    assert.equal(say('GET', '/version'), 'get /version');
  });

  test('any URL: an answer, never an exception', () => {
    const url = fc.array(
      fc.constantFrom(
        '/',
        'api',
        'apis',
        'v1',
        'namespaces',
        'pods',
        'exec',
        '%2f',
        '%',
        '..',
        '?',
        'watch',
        '=',
        '&',
        '\u0000',
        'é',
      ),
      { maxLength: 20 },
    );
    fc.assert(
      fc.property(url, (parts) => {
        const info = readRequestInfo('GET', `/${parts.join('')}`);
        if (info !== undefined) assert.doesNotMatch(`${info.name}${info.namespace}${info.resource}`, /[/\x00]/);
      }),
      { numRuns: 2000 },
    );
  });
});
