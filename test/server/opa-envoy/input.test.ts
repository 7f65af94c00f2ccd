import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { fromJson, type JsonValue } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { CheckRequestSchema } from '../../../src/gen/envoy/service/auth/v3/external_auth_pb.ts';
import { Unreadable } from '../../../src/server/connect/opa-envoy/escaped.ts';
import { opaInput, secretsIn } from '../../../src/server/connect/opa-envoy/input.ts';
import { processorMs } from '../../processor.ts';

/**
 * The input that opa-envoy-plugin makes of Envoy's checks. `plugin.json` holds what the plugin itself made of each request
 * (its commit 07a1fd1), the tables of its own tests among them.
 */

interface Case {
  readonly request: JsonValue;
  /** Null where the plugin has an error. */
  readonly input: Record<string, unknown> | null;
}

const cases = JSON.parse(await readFile(path.join(import.meta.dirname, 'plugin.json'), 'utf8')) as Record<
  string,
  Case
>;

const made = (request: JsonValue): unknown =>
  JSON.parse(JSON.stringify(opaInput(fromJson(CheckRequestSchema, request, { ignoreUnknownFields: true }))));

describe('the input of opa-envoy-plugin', () => {
  test.each(Object.entries(cases))('%s', (_name, { request, input }) => {
    if (input === null) expect(() => made(request)).toThrow(Unreadable);
    else expect(made(request)).toEqual(input);
  });

  test('its numbers are exact', () => {
    const body = '[1.50, 12345678901234567890123, 1e3, -0]';
    const http = { headers: { 'content-type': 'application/json' }, body, size: '9223372036854775807' };
    const text = JSON.stringify(
      opaInput(fromJson(CheckRequestSchema, { attributes: { request: { http } } })),
    );
    expect(text).toContain('"parsed_body":[1.50,12345678901234567890123,1e3,-0]');
    expect(text).toContain('"size":9223372036854775807');
  });
});

const http = (more: Record<string, JsonValue>): JsonValue => ({ attributes: { request: { http: more } } });
const multipart = (body: string, type = 'multipart/form-data; boundary=b'): JsonValue =>
  http({ headers: { 'content-type': type }, body });
const raw = (bytes: Buffer): JsonValue =>
  http({ headers: { 'content-type': 'application/json' }, rawBody: bytes.toString('base64') });
const part = (head: string, text = 'x'): string => `--b\r\n${head}\r\n\r\n${text}\r\n--b--\r\n`;

describe('what two readers may see differently is refused', () => {
  test.each([
    ['a % that escapes nothing, in the path', http({ path: '/a%zz' })],
    ['bytes that are no UTF-8, in the path', http({ path: '/a%ff' })],
    ['a semicolon in the query', http({ path: '/a?b=1;c=2' })],
    ['a % that escapes nothing, in the query', http({ path: '/a?b=%' })],
    ['more values than anybody has', http({ path: `/?${'a&'.repeat(10_001)}` })],
    ['a JSON body that is none', http({ headers: { 'content-type': 'application/json' }, body: '{' })],
    ['a JSON body and more', http({ headers: { 'content-type': 'application/json' }, body: '{} {}' })],
    ['bytes that are no UTF-8, in a body', raw(Buffer.from([0x22, 0xff, 0x22]))],
    [
      'a length that is none',
      http({ headers: { 'content-type': 'application/json', 'content-length': 'x' }, body: '1' }),
    ],
    ['a body beyond a MiB', raw(Buffer.alloc(1024 * 1024 + 1, 0x20))],
    ['a form that breaks off', multipart('--b\r\nContent-Disposition: form-data; name="a"\r\n\r\nx')],
    ['a form without its boundary', multipart('hello')],
    [
      'a boundary that only begins like one',
      multipart(part('Content-Disposition: form-data; name="a"', 'x\r\n--bb\r\n')),
    ],
    ['two names of one part', multipart(part('Content-Disposition: form-data; name="a"; name="b"'))],
    ['an extended name', multipart(part("Content-Disposition: form-data; name*=utf-8''a"))],
    [
      'two headers of one name',
      multipart(part('Content-Disposition: form-data; name="a"\r\nContent-Disposition: form-data; name="b"')),
    ],
    ['a folded header', multipart(part('Content-Disposition: form-data;\r\n name="a"'))],
    [
      'a transfer encoding',
      multipart(
        part(
          'Content-Disposition: form-data; name="a"\r\nContent-Transfer-Encoding: quoted-printable',
          '=41',
        ),
      ),
    ],
    ['more parts than anybody has', multipart(`${'--b\r\n\r\n\r\n'.repeat(1_002)}--b--`)],
    [
      'a boundary that cannot be read',
      multipart(part('Content-Disposition: form-data; name="a"'), 'multipart/form-data; boundary="b'),
    ],
  ])('%s', (_what, request) => {
    expect(() => made(request)).toThrow(Unreadable);
  });

  test('any bytes are read or refused, in no more time than their length takes', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(
          'application/json',
          'application/x-www-form-urlencoded',
          'multipart/form-data; boundary=b',
        ),
        fc.array(
          fc.constantFrom(
            '--b',
            '\r\n',
            '\n',
            '--',
            ': ',
            ';',
            '=',
            '&',
            '%',
            '"',
            '{',
            'name="a"',
            'Content-Disposition: form-data',
            ' ',
          ),
        ),
        (type, pieces) => {
          try {
            made(multipart(pieces.join(''), type));
          } catch (error) {
            expect(error).toBeInstanceOf(Unreadable);
          }
        },
      ),
      { numRuns: 2_000 },
    );
    const began = processorMs();
    expect(() => made(multipart('\r\n--b'.repeat(200_000)))).toThrow(Unreadable);
    expect(() =>
      made(multipart(part(`Content-Disposition: form-data${'; a="\\"'.repeat(100_000)}`))),
    ).toThrow(Unreadable);
    expect(processorMs() - began).toBeLessThan(2_000);
  });

  test('names that objects have by nature are names like any other', () => {
    const { parsed_query: query } = opaInput(
      fromJson(CheckRequestSchema, http({ path: '/?__proto__=1&constructor=2' })),
    );
    expect(JSON.stringify(query)).toBe('{"__proto__":["1"],"constructor":["2"]}');
  });
});

test('credentials in headers are named, in either form of them', () => {
  const request = fromJson(
    CheckRequestSchema,
    http({
      headers: { authorization: 'Bearer x', Cookie: 'a=b', 'x-a': '1' },
      headerMap: {
        headers: [
          { key: 'x-a', value: '1' },
          { key: 'Cookie', rawValue: 'YQ==' },
        ],
      },
    }),
  );
  const at = '/input/data_input/attributes/request/http';
  expect(secretsIn(request)).toEqual([
    `${at}/headers/authorization`,
    `${at}/headers/Cookie`,
    `${at}/headerMap/headers/1/rawValue`,
  ]);
});
