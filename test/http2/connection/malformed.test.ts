import { describe, expect, test } from 'vitest';
import { ErrorCode } from '../../../src/http2/errors.ts';
import { mirror, serving } from '../echo.ts';
import { RawClient } from '../raw-client.ts';
import { END, type FieldList, headers, hpack, request } from '../wire.ts';

const METHOD = [':method', 'POST'] as const;
const SCHEME = [':scheme', 'http'] as const;
const AUTHORITY = [':authority', 'a.test'] as const;
const PATH = [':path', '/'] as const;
const with_ = (...more: FieldList): FieldList => request('/', more);
const path = (path: string, method = 'GET'): FieldList => request(path, [], method);

const malformed: readonly (readonly [section: string, what: string, fields: FieldList])[] = [
  ['8.2.1', 'a name with capitals', with_(['Name', 'v'])],
  ['8.2.1', 'a name that begins with one', with_(['X-a', 'v'])],
  ['8.2.1', 'no name', with_(['', 'v'])],
  ['8.2.1', 'a blank in a name', with_(['a b', 'v'])],
  ['8.2.1', 'a colon in a name', with_(['a:b', 'v'])],
  ['8.2.1', 'a new line in a name', with_(['a\r\nb', 'v'])],
  ['8.2.1', 'a name beyond ASCII', with_(['n\xe4me', 'v'])],
  ['8.2.1', 'NUL in a value', with_(['n', 'a\0b'])],
  ['8.2.1', 'CR in a value', with_(['n', 'a\rb'])],
  ['8.2.1', 'LF in a value', with_(['n', 'a\nb'])],
  ['8.2.1', 'LF behind a value', with_(['n', 'a\n'])],
  ['8.2.1', 'a blank before a value', with_(['n', ' a'])],
  ['8.2.1', 'a blank behind a value', with_(['n', 'a '])],
  ['8.2.1', 'a tab before a value', with_(['n', '\ta'])],
  ['8.2.1', 'a blank alone', with_(['n', ' '])],
  ['8.2.1', 'a new line in a path', path('/a\r\nhost: b')],
  ['8.2.2', 'connection', with_(['connection', 'close'])],
  ['8.2.2', 'keep-alive', with_(['keep-alive', 'timeout=5'])],
  ['8.2.2', 'proxy-connection', with_(['proxy-connection', 'close'])],
  ['8.2.2', 'transfer-encoding', with_(['transfer-encoding', 'chunked'])],
  ['8.2.2', 'upgrade', with_(['upgrade', 'h2c'])],
  ['8.2.2', 'te of anything but trailers', with_(['te', 'gzip'])],
  ['8.2.2', 'te of trailers and more', with_(['te', 'trailers, gzip'])],
  ['8.3', 'a pseudo-header field after others', [METHOD, SCHEME, AUTHORITY, ['a', 'b'], PATH]],
  [
    '8.3',
    'a pseudo-header field at the end',
    [METHOD, SCHEME, AUTHORITY, PATH, ['a', 'b'], [':method', 'POST']],
  ],
  ['8.3', 'one that is not known', [METHOD, SCHEME, AUTHORITY, PATH, [':unknown', 'x']]],
  ['8.3', 'one of answers', [METHOD, SCHEME, AUTHORITY, PATH, [':status', '200']]],
  ['8.3', 'a colon alone', [METHOD, SCHEME, AUTHORITY, PATH, [':', 'x']]],
  ['8.3', 'one with capitals', [[':Method', 'POST'], SCHEME, AUTHORITY, PATH]],
  ['8.3.1', 'no method', [SCHEME, AUTHORITY, PATH]],
  ['8.3.1', 'no scheme', [METHOD, AUTHORITY, PATH]],
  ['8.3.1', 'no path', [METHOD, SCHEME, AUTHORITY]],
  ['8.3.1', 'two methods', [METHOD, METHOD, SCHEME, AUTHORITY, PATH]],
  ['8.3.1', 'two schemes', [METHOD, SCHEME, SCHEME, AUTHORITY, PATH]],
  ['8.3.1', 'two authorities', [METHOD, SCHEME, AUTHORITY, AUTHORITY, PATH]],
  ['8.3.1', 'two paths', [METHOD, SCHEME, AUTHORITY, PATH, PATH]],
  ['8.3.1', 'an empty method', [[':method', ''], SCHEME, AUTHORITY, PATH]],
  ['8.3.1', 'a method that is no token', [[':method', 'GE T'], SCHEME, AUTHORITY, PATH]],
  ['8.3.1', 'an empty path', path('')],
  ['8.3.1', 'a path without a slash', path('index.html')],
  ['8.3.1', 'a whole address for a path', path('http://a.test/')],
  ['8.3.1', '* for another method than OPTIONS', path('*')],
  ['8.3.1', 'a blank in a path', path('/a b')],
  ['8.3.1', 'a path beyond ASCII', path('/\xe4')],
  ['8.3.1', 'somebody before the authority', [METHOD, SCHEME, [':authority', 'me@a.test'], PATH]],
  ['8.3.1', 'an empty scheme', [METHOD, [':scheme', ''], AUTHORITY, PATH]],
  ['8.3.1', 'a scheme that is none (RFC 3986 3.1)', [METHOD, [':scheme', 'ht`p'], AUTHORITY, PATH]],
  ['8.3.1', 'a blank in an authority', [METHOD, SCHEME, [':authority', 'a b'], PATH]],
  ['8.3.1', 'a slash in an authority', [METHOD, SCHEME, [':authority', 'a.test/b'], PATH]],
  ['8.3.1', 'an authority beyond ASCII', [METHOD, SCHEME, [':authority', '\xe4.test'], PATH]],
  ['8.3.1', 'a host that is another', [...with_(['host', 'b.test'])]],
  ['8.3.1', 'two hosts', [METHOD, SCHEME, PATH, ['host', 'a.test'], ['host', 'a.test']]],
  ['8.5', 'CONNECT, which there is none of', [[':method', 'CONNECT'], AUTHORITY]],
  ['8.5', 'CONNECT with a scheme and a path', [[':method', 'CONNECT'], SCHEME, AUTHORITY, PATH]],
  ['8.1', 'nothing at all', []],
];

describe('RFC 9113 8.1.1: malformed requests reach nobody, and the connection goes on', () => {
  test.each(malformed)('RFC 9113 %s: %s', async (_section, _what, fields) => {
    await using served = await serving({ serve: mirror });
    using client = await RawClient.connect(served.port);
    client.send(headers(1, fields, END), headers(3, fields), headers(5, request(), END));
    for (const id of [1, 3])
      expect(await client.answered(id)).toMatchObject({ reset: ErrorCode.PROTOCOL_ERROR, status: undefined });
    expect((await client.answered(5)).status).toBe('200');
    expect(served.streams).toHaveLength(1);
    expect(served.open).toBe(0);
  });

  test('RFC 9113 5.3.1: a stream that depends on itself is none', async () => {
    await using served = await serving({ serve: mirror });
    using client = await RawClient.connect(served.port);
    const block = headers(1, request(), END);
    // With PRIORITY: five bytes before the block.
    const own = Buffer.concat([Buffer.of(0, 0, 0, 1, 15), block.subarray(9)]);
    const frame = Buffer.concat([Buffer.of(0, 0, own.length, 1, 0x25, 0, 0, 0, 1), own]);
    client.send(frame);
    expect(await client.answered(1)).toMatchObject({ reset: ErrorCode.PROTOCOL_ERROR });
  });
});

describe('RFC 9113 8.3.1: what is odd and right is served', () => {
  test.each<[string, FieldList]>([
    ['te: trailers', with_(['te', 'trailers'])],
    ['te: Trailers', with_(['te', 'Trailers'])],
    ['OPTIONS *', path('*', 'OPTIONS')],
    ['OPTIONS /', path('/', 'OPTIONS')],
    ['no authority', [METHOD, SCHEME, PATH]],
    ['a host instead of an authority', [METHOD, SCHEME, PATH, ['host', 'a.test']]],
    ['a host that is the authority, in capitals', with_(['host', 'A.TEST'])],
    ['pseudo-header fields in another order', [PATH, AUTHORITY, SCHEME, METHOD]],
    ['a query with anything in it', path('/a?b=%00&c=[]{}|\\^`"<>')],
    ['a method nobody knows', path('/', 'BREW!')],
    ['values beyond ASCII', with_(['n', '\xe4\xff\x80'])],
    ['an empty value, and a tab within one', with_(['n', ''], ['m', 'a\tb'])],
    ['cookies in parts (section 8.2.3)', with_(['cookie', 'a=1'], ['cookie', 'b=2'])],
    ['names of anything a token may be', with_(["!#$%&'*+.^_`|~0-9a-z-", 'v'])],
  ])('%s', async (_what, fields) => {
    await using served = await serving({ serve: mirror });
    using client = await RawClient.connect(served.port);
    client.send(headers(1, fields, END));
    const { list } = JSON.parse((await client.answered(1)).body.toString()) as { list: string[] };
    expect(list).toEqual(fields.flat());
  });

  test('fields by name: joined as RFC 9110 5.3 says, cookies as RFC 9113 8.2.3, and no prototype', async () => {
    await using served = await serving({ serve: mirror });
    using client = await RawClient.connect(served.port);
    const more: FieldList = [
      ['a', '1'],
      ['cookie', 'a=1'],
      ['a', '2'],
      ['cookie', 'b=2'],
      ['__proto__', 'x'],
      ['constructor', ''],
    ];
    client.send(headers(1, Buffer.concat(request('/', more).map((pair) => hpack.plain(...pair))), END));
    await client.answered(1);
    const record = served.streams[0]?.fields.toRecord() ?? {};
    expect(record).toMatchObject({ a: '1, 2', cookie: 'a=1; b=2', constructor: '' });
    expect(Object.keys(record)).toContain('__proto__');
    expect(served.streams[0]?.fields.get('toString')).toBe(undefined);
  });
});
