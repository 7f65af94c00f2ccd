import { describe, expect, test } from 'vitest';
import { ErrorCode } from '../../../src/http2/errors.ts';
import { answerAtOnce, mirror, serving } from '../echo.ts';
import { RawClient } from '../raw-client.ts';
import { data, END, type FieldList, headers, request } from '../wire.ts';

const claiming = (length: string, id = 1): Buffer => headers(id, request('/', [['content-length', length]]));
const only = (length: string): Buffer => headers(1, request('/', [['content-length', length]]), END);

describe('RFC 9113 8.1.1: content-length and what comes', () => {
  test.each<[string, Buffer[]]>([
    ['as many in one frame', [claiming('5'), data(1, 'hello', END)]],
    ['as many in some', [claiming('5'), data(1, 'he'), data(1, ''), data(1, 'llo'), data(1, '', END)]],
    ['none, and no DATA', [only('0')]],
    ['none, and an empty frame', [claiming('0'), data(1, '', END)]],
    ['as many, and trailers', [claiming('5'), data(1, 'hello'), headers(1, [['a', 'b']], END)]],
    ['zeros before', [claiming('005'), data(1, 'hello', END)]],
  ])('%s: served', async (_what, bytes) => {
    await using served = await serving({ serve: mirror });
    using client = await RawClient.connect(served.port);
    client.send(...bytes);
    expect((await client.answered(1)).status).toBe('200');
  });

  test.each<[string, Buffer[]]>([
    ['less', [claiming('5'), data(1, 'hell', END)]],
    ['less, in some', [claiming('5'), data(1, 'he'), data(1, 'll'), data(1, '', END)]],
    ['less, and trailers', [claiming('5'), data(1, 'hell'), headers(1, [['a', 'b']], END)]],
    ['nothing', [only('5')]],
    ['more, in one frame', [claiming('5'), data(1, 'hello!', END)]],
    ['more, before it has come to its end', [claiming('5'), data(1, 'hello'), data(1, '!')]],
    ['some where none was claimed', [claiming('0'), data(1, '!')]],
  ])('%s: the stream is given up and never complete, others go on', async (_what, bytes) => {
    await using served = await serving({ serve: mirror });
    using client = await RawClient.connect(served.port);
    client.send(...bytes, claiming('2', 3), data(3, 'ok', END));
    expect(await client.answered(1)).toMatchObject({ reset: ErrorCode.PROTOCOL_ERROR, status: undefined });
    expect((await client.answered(3)).status).toBe('200');
    expect(served.streams[0]).toMatchObject({ isClosed: true, isComplete: false });
  });

  test.each<[string, FieldList]>([
    ['a sign', [['content-length', '+5']]],
    ['less than nothing', [['content-length', '-5']]],
    ['a fraction', [['content-length', '5.0']]],
    ['hexadecimal', [['content-length', '0x5']]],
    ['nothing', [['content-length', '']]],
    ['a list', [['content-length', '5, 5']]],
    ['other digits', [['content-length', '\xb2']]],
    ['more than a number holds', [['content-length', '99999999999999999999']]],
    [
      'twice, differing',
      [
        ['content-length', '5'],
        ['content-length', '6'],
      ],
    ],
  ])('one that is %s is malformed', async (_what, more) => {
    await using served = await serving({ serve: mirror });
    using client = await RawClient.connect(served.port);
    client.send(headers(1, request('/', more)), data(1, 'hello', END));
    expect(await client.answered(1)).toMatchObject({ reset: ErrorCode.PROTOCOL_ERROR, status: undefined });
    expect(served.streams).toHaveLength(0);
  });

  test('what was answered before it came is answered all the same, and then given up', async () => {
    await using served = await serving({ serve: answerAtOnce(Buffer.from('early')) });
    using client = await RawClient.connect(served.port);
    client.send(claiming('5'), data(1, 'too many'));
    const answer = await client.answered(1);
    expect(answer.body.toString()).toBe('early');
    expect(answer.isEnded).toBe(true);
    await client.settled();
  });
});
