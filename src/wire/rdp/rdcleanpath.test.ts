import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { DER_INTEGER, DER_SEQUENCE, decodeDerElements, derUnsigned, encodeDer, encodeDerUnsigned } from './der.ts';
import {
  decodeRdCleanPathRequest,
  encodeRdCleanPathError,
  encodeRdCleanPathRequest,
  encodeRdCleanPathResponse,
  RDCLEANPATH_MAX_BYTES,
} from './rdcleanpath.ts';

const GIVEN = { destination: 'win:3389', proxyAuth: '-', x224: Buffer.from('0300000b06e00000000000', 'hex') };
const REQUEST = encodeRdCleanPathRequest(GIVEN);

describe('RDCleanPath', () => {
  test('a request comes back as it was encoded, and waits for its last byte', () => {
    const bytes = REQUEST;
    for (let end = 0; end < bytes.length; end += 1) {
      assert.equal(decodeRdCleanPathRequest(bytes.subarray(0, end)), undefined);
    }
    const found = decodeRdCleanPathRequest(Buffer.concat([bytes, Buffer.from('more')]));
    assert.deepEqual(found, { request: GIVEN, length: bytes.length });
  });

  test('refused: another version, no destination, a length beyond the limit, no SEQUENCE', () => {
    const other = Buffer.from(REQUEST);
    other[other.indexOf(0x3e)] = 0x3f;
    assert.throws(() => decodeRdCleanPathRequest(other), /version 3391/);
    assert.throws(() => decodeRdCleanPathRequest(encodeDer(DER_SEQUENCE)), /version missing/);
    assert.throws(() => decodeRdCleanPathRequest(Buffer.from([0x30, 0x83, 0xff, 0xff, 0xff])), /too long/);
    assert.throws(() => decodeRdCleanPathRequest(Buffer.from('GET / HTTP/1.1')), /SEQUENCE/);
    assert.ok(RDCLEANPATH_MAX_BYTES >= 4096);
  });

  test('answers are DER with the fields where IronRDP looks for them', () => {
    const response = encodeRdCleanPathResponse({
      x224: Buffer.alloc(19, 1),
      certChain: [Buffer.alloc(900, 2), Buffer.alloc(20, 3)],
      serverAddr: '10.0.0.1:3389',
    });
    const [outer] = decodeDerElements(response, 1);
    assert.deepEqual(
      decodeDerElements(outer!.body, 8).map((element) => element.tag),
      [0xa0, 0xa6, 0xa7, 0xa9],
    );
    const error = encodeRdCleanPathError({ kind: 'general', httpStatus: 403 });
    assert.equal(error.toString('hex'), '3015a00402020d3ea10d300ba003020101a10402020193');
    const negotiation = encodeRdCleanPathError({ kind: 'negotiation', x224: Buffer.alloc(19) });
    assert.deepEqual(
      decodeDerElements(decodeDerElements(negotiation, 1)[0]!.body, 8).map((element) => element.tag),
      [0xa0, 0xa1, 0xa6],
    );
  });

  test('integers: shortest form, never negative', () => {
    for (const [value, hex] of [
      [0, '020100'],
      [127, '02017f'],
      [128, '02020080'],
      [3390, '02020d3e'],
      [0xffffffff, '020500ffffffff'],
    ] as const) {
      assert.equal(encodeDerUnsigned(value).toString('hex'), hex);
      const [element] = decodeDerElements(encodeDerUnsigned(value), 1);
      assert.equal(element!.tag, DER_INTEGER);
      assert.equal(derUnsigned(element!.body), value);
    }
    assert.throws(() => derUnsigned(Buffer.from([0x80])), { code: 'decode' });
    assert.throws(() => derUnsigned(Buffer.alloc(0)), { code: 'decode' });
  });
});
