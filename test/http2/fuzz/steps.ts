import fc from 'fast-check';
import { Flag, HEADER_BYTES, Type, uint24, uint31 } from '../../../src/http2/wire/frames.ts';
import {
  blockOf,
  continuation,
  data,
  type FieldList,
  fragmented,
  frame,
  goAway,
  headers,
  hpack,
  literals,
  ping,
  priority,
  reset,
  settings,
  uint32,
  windowUpdate,
} from '../wire.ts';

/** What a client does next: right, a little wrong, or with a bit turned over. */

/** Streams that were begun, in their order; the next number is beyond the last. */
export class Script {
  ids: number[] = [];
  next = 1;

  begin(): number {
    const id = this.next;
    this.ids.push(id);
    this.next += 2;
    return id;
  }

  /** It may have been begun: those before it cannot be any more. */
  heardOf(id: number): void {
    if (id < this.next) return;
    this.ids.push(id);
    this.next = (id | 1) + 2;
  }

  /** One that was begun; if there is none yet, one that was not, and is not begun later either. */
  some(at: number): number {
    return this.ids[at % Math.max(1, this.ids.length)] ?? this.begin();
  }
}

export interface Step {
  readonly kind: string;
  readonly bytes: (script: Script) => Buffer;
}

const line = (path = '/', method = 'POST'): FieldList => [
  [':method', method],
  [':scheme', 'http'],
  [':authority', 'a'],
  [':path', path],
];

const sections: Readonly<Record<string, FieldList | Buffer>> = {
  plain: line(),
  'with fields': [...line('/a?b=c'), ['x-a', '1'], ['x-b', 'two words'], ['te', 'trailers']],
  'with a cookie': [...line(), ['cookie', 'a=1']],
  'adds to the table': Buffer.concat([literals(line('/added')), hpack.added('x-added', 'v')]),
  'adds more': Buffer.concat([literals(line()), hpack.added('x-more', 'w'), hpack.added('x-and', 'z')]),
  'of the table': Buffer.concat([literals(line()), hpack.indexed(62)]),
  'beyond the table': Buffer.concat([literals(line()), hpack.indexed(90)]),
  'empties the table': Buffer.concat([hpack.resize(0), hpack.resize(4_096), literals(line())]),
  'a table too large': Buffer.concat([hpack.resize(4_097), literals(line())]),
  'a table size too late': Buffer.concat([literals(line()), hpack.resize(100)]),
  'cut short': literals(line()).subarray(0, 20),
  'of five bytes': [...line(), ['content-length', '5']],
  'of no bytes': [...line(), ['content-length', '0']],
  'of strange bytes': [...line(), ['content-length', '5x']],
  'without a path': line().slice(0, 3),
  'without a method': line().slice(1),
  'with two methods': [...line(), [':method', 'GET']],
  'with capitals': [...line(), ['Upper', 'x']],
  'with a connection': [...line(), ['connection', 'close']],
  'with a bad te': [...line(), ['te', 'gzip']],
  'with a new line': [...line(), ['x-a', 'a\nb']],
  'with a pseudo-header field late': [...line().slice(0, 3), ['x-a', '1'], [':path', '/']],
  'with an unknown pseudo-header field': [...line(), [':x', '1']],
  'with an empty path': line(''),
  empty: [],
};

const small = fc.nat(20);
const sectionOf = fc.constantFrom(...Object.keys(sections));
const valid = fc.constantFrom('plain', 'with fields', 'adds to the table', 'adds more', 'with a cookie');
const begin = fc
  .record({
    name: fc.oneof({ weight: 3, arbitrary: valid }, { weight: 1, arbitrary: sectionOf }),
    end: fc.boolean(),
    each: fc.constantFrom(0, 0, 1, 20),
    flags: fc.constantFrom(0, 0, 0, Flag.PADDED),
  })
  .map(({ name, end, each, flags }) => ({
    kind: `a request ${name}`,
    bytes: (script: Script) => {
      const id = script.begin();
      const block = blockOf(sections[name] as FieldList | Buffer);
      if (each > 0) return fragmented(id, block, Math.ceil(block.length / 3) + each, { end });
      if (flags === 0) return headers(id, block, { end });
      return headers(id, Buffer.concat([Buffer.of(3), block, Buffer.alloc(3)]), { end, flags });
    },
  }));

const body = fc
  .record({
    at: small,
    length: fc.constantFrom(0, 1, 5, 5, 100),
    end: fc.boolean(),
    pad: fc.constantFrom(undefined, 0, 7),
  })
  .map(({ at, length, end, pad }) => ({
    kind: 'DATA',
    bytes: (script: Script) =>
      data(script.some(at), Buffer.alloc(length), pad === undefined ? { end } : { end, pad }),
  }));

const on = (
  kind: string,
  bytes: (id: number, value: number) => Buffer,
  values: readonly number[],
): fc.Arbitrary<Step> =>
  fc.record({ at: small, value: fc.constantFrom(...values) }).map(({ at, value }) => ({
    kind,
    bytes: (script) => bytes(script.some(at), value),
  }));

const fixed = (kind: string, ...all: readonly Buffer[]): fc.Arbitrary<Step> =>
  fc.constantFrom(...all).map((bytes) => ({ kind, bytes: () => bytes }));

const right: fc.Arbitrary<Step> = fc.oneof(
  { weight: 8, arbitrary: begin },
  { weight: 8, arbitrary: body },
  {
    weight: 2,
    arbitrary: on(
      'trailers',
      (id, value) => headers(id, value ? [['x-late', '1']] : [], { end: true }),
      [0, 1],
    ),
  },
  { weight: 2, arbitrary: on('RST_STREAM', (id, value) => reset(id, value), [0, 8, 77]) },
  { weight: 2, arbitrary: on('WINDOW_UPDATE', (id, value) => windowUpdate(id, value), [1, 100, 70_000]) },
  { weight: 1, arbitrary: on('PRIORITY', (id, value) => priority(id, id + value), [2, 4]) },
  {
    weight: 2,
    arbitrary: fixed(
      'of the connection',
      ping(),
      settings(),
      settings(['INITIAL_WINDOW_SIZE', 10]),
      settings(['INITIAL_WINDOW_SIZE', 100_000], ['HEADER_TABLE_SIZE', 0]),
      settings(['MAX_FRAME_SIZE', 20_000]),
      windowUpdate(0, 1_000),
      frame(0xba, 0xff, 0, Buffer.alloc(30)),
    ),
  },
);

const wrong: fc.Arbitrary<Step> = fc.oneof(
  on('trailers that do not end', (id) => headers(id, [['x-late', '1']]), [0]),
  on('trailers of a pseudo-header field', (id) => headers(id, [[':path', '/']], { end: true }), [0]),
  on('WINDOW_UPDATE of nothing', (id) => windowUpdate(id, 0), [0]),
  on('WINDOW_UPDATE of too much', (id) => windowUpdate(id, 2 ** 31 - 1), [0]),
  on('PRIORITY of itself', (id) => priority(id, id), [0]),
  on('PRIORITY of another length', (id) => frame(Type.PRIORITY, 0, id, Buffer.alloc(4)), [0]),
  on('DATA with too much padding', (id) => frame(Type.DATA, Flag.PADDED, id, Buffer.of(9, 0)), [0]),
  on('RST_STREAM of another length', (id) => frame(Type.RST_STREAM, 0, id, Buffer.alloc(3)), [0]),
  on('CONTINUATION of nothing', (id) => continuation(id, Buffer.alloc(0), true), [0]),
  on(
    'a header block broken off',
    (id) => Buffer.concat([frame(Type.HEADERS, 0, id + 400, literals(line())), ping()]),
    [0],
  ),
  on('HEADERS of a stream that was before', (id) => headers(id, line(), { end: true }), [0]),
  on('DATA of a stream that was not begun', (id) => data(id + 1_000, 'x'), [0]),
  on('RST_STREAM of a stream that was not begun', (id) => reset(id + 1_000), [0]),
  on('WINDOW_UPDATE of a stream that was not begun', (id) => windowUpdate(id + 1_000, 1), [0]),
  on('HEADERS of an even stream', (id) => headers(id + 1_001, line(), { end: true }), [0]),
  fixed(
    'of the connection, wrong',
    windowUpdate(0, 0),
    windowUpdate(0, 2 ** 31 - 1),
    settings(['ENABLE_PUSH', 2]),
    settings(['INITIAL_WINDOW_SIZE', 2 ** 31]),
    settings(['MAX_FRAME_SIZE', 1]),
    frame(Type.SETTINGS, Flag.ACK, 0, Buffer.alloc(6)),
    frame(Type.SETTINGS, 0, 1),
    frame(Type.PING, 0, 0, Buffer.alloc(7)),
    frame(Type.PING, 0, 1, Buffer.alloc(8)),
    frame(Type.GOAWAY, 0, 0, Buffer.alloc(7)),
    frame(Type.PUSH_PROMISE, Flag.END_HEADERS, 1, uint32(2)),
    data(0, 'x'),
    headers(0, line()),
    frame(Type.DATA, 0, 1, Buffer.alloc(16_385)),
  ),
  fixed('GOAWAY', goAway(), goAway(0, 2)),
);

/** A bit of the first frame turned over, but for its length: both must know where the next frame begins. */
const turned = fc.record({ step: right, at: fc.nat(1_000), bit: fc.nat(7) }).map(({ step, at, bit }) => ({
  kind: `a bit turned of ${step.kind}`,
  bytes: (script: Script) => {
    const bytes = Buffer.from(step.bytes(script));
    const index = 3 + (at % (HEADER_BYTES - 3 + uint24(bytes, 0)));
    bytes[index] = (bytes[index] as number) ^ (1 << bit);
    script.heardOf(uint31(bytes, 5));
    return bytes;
  },
}));

export const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    { weight: 12, arbitrary: right },
    { weight: 2, arbitrary: wrong },
    { weight: 2, arbitrary: turned },
  ),
  { minLength: 1, maxLength: 14 },
);
