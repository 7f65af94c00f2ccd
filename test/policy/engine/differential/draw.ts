import { numberOf } from '../../../../src/policy/engine/values/numbers.ts';
import { Decimal, RegoObject, RegoSet, type Value } from '../../../../src/policy/engine/values/values.ts';

/** Draws that a seed repeats (mulberry32). */
export class Draw {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** Below `bound`. */
  below(bound: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * bound);
  }

  one<T>(of: readonly T[]): T {
    return of[this.below(of.length)] as T;
  }

  chance(inOf: number): boolean {
    return this.below(inOf) === 0;
  }

  list<T>(most: number, make: (draw: Draw) => T): T[] {
    return Array.from({ length: this.below(most + 1) }, () => make(this));
  }
}

export type Generator<T extends Value = Value> = (draw: Draw) => T;

const letters = Array.from(
  'abcxyzABZ019 ,./-_:;=&%+*?[]{}()<>|^$\\"\'!@#~`\t\n\r\0éßİıΣςǅᾳﬁ\u00a0\u0085\u2028\ufeff\ufffd\uffff' +
    '🎉𝒳\u{10ffff}Ꙁ٣日\u0301\u00ad\u200b\u{1e900}',
);

const fixedTexts = [
  '',
  'a',
  'b',
  'ab',
  'aa',
  'aaa',
  'abc',
  'A',
  ' ',
  '  a ',
  ',',
  'a,b',
  'a,,b',
  ',a,',
  'é',
  'éé',
  '🎉',
  'a🎉b',
  'ß',
  'ΑΣ',
  '0',
  '1',
  '-0',
  '-',
  '+',
  '1.0',
  '1.',
  '.5',
  '1e3',
  '1E+2',
  '007',
  '+5',
  '-5',
  '0x10',
  '0x1p4',
  '1_000',
  '1e400',
  '1e99999999',
  'inf',
  'NaN',
  'true',
  'false',
  'null',
  '[]',
  '{}',
  '"a"',
  '[1,2]',
  '{"a":1}',
  '{"a":1}x',
  '{"a":{"b":[1,{"c":null}]}}',
  'a/b',
  '/a/b',
  'a/0',
  '~0~1',
  '/',
  '//a',
  'YQ==',
  'YQ',
  'YWI=',
  'Y Q==',
  'YQ==\n',
  '/w==',
  '_w==',
  '-_',
  'UTC',
  '616',
  'c3a9',
  'zz',
];

export function text(draw: Draw): string {
  if (draw.chance(2)) return draw.one(fixedTexts);
  return draw.list(6, (inner) => inner.one(letters)).join('');
}

const numbers = [
  '0',
  '-0',
  '1',
  '-1',
  '2',
  '3',
  '5',
  '7',
  '10',
  '16',
  '100',
  '1.0',
  '2.0',
  '3.00',
  '0.0',
  '-0.0',
  '0.1',
  '0.2',
  '0.3',
  '-0.5',
  '0.5',
  '1.5',
  '2.5',
  '-1.5',
  '1e3',
  '1e0',
  '10e-1',
  '1.5e1',
  '1E2',
  '-2e0',
  '1e-7',
  '123456.789',
  '1234567.5',
  '2147483647',
  '2147483648',
  '-2147483648',
  '-2147483649',
  '4294967295',
  '4294967296',
  '9007199254740991',
  '9007199254740992',
  '9007199254740993',
  '-9007199254740993',
  '9223372036854775807',
  '9223372036854775808',
  '-9223372036854775808',
  '-9223372036854775809',
  '18446744073709551615',
  '18446744073709551616',
  '18446744073709551617',
  '1e18',
  '1e19',
  '1e21',
  '1e25',
  '1e30',
  '123456789012345678901234567890',
  '99999999999999999999.5',
  '1e100',
  '1e308',
  '1e309',
  '1e400',
  '1e-400',
  '5e-324',
  '1.7976931348623157e308',
  '0.30000000000000004',
  '3.141592653589793',
  '12345678901234567890.123',
  '1.0000000000000000000',
  '0.1000000000000000055511151231257827',
  '33.3',
  '66.66666',
  '1e-3',
];

export function number(draw: Draw): Value {
  if (draw.chance(3)) return numberOf(draw.one(numbers));
  if (draw.chance(3)) return new Decimal(`${draw.below(2000) - 1000}.${draw.below(100_000)}`);
  return draw.below(40) - 10;
}

/** Mostly a small integer, in all its forms. */
export function integer(draw: Draw): Value {
  if (draw.chance(4)) return number(draw);
  const value = draw.below(16) - 4;
  return draw.chance(6) ? numberOf(`${value}.0`) : draw.chance(12) ? numberOf(`${value}e0`) : value;
}

export function scalar(draw: Draw): Value {
  const kind = draw.below(8);
  if (kind < 3) return text(draw);
  if (kind < 6) return number(draw);
  return draw.one([null, true, false]);
}

export function value(draw: Draw, depth = 3): Value {
  if (depth === 0 || draw.chance(2)) return scalar(draw);
  const inner = (next: Draw) => value(next, depth - 1);
  const kind = draw.below(3);
  if (kind === 0) return draw.list(4, inner);
  if (kind === 1) return new RegoSet(draw.list(4, inner));
  return new RegoObject(
    draw.list(4, (next) => [next.chance(3) ? inner(next) : text(next), inner(next)] as const),
  );
}

export function arrayOf(element: Generator, most = 4): Generator {
  return (draw) => draw.list(most, element);
}

export function setOf(element: Generator, most = 4): Generator {
  return (draw) => new RegoSet(draw.list(most, element));
}

export function objectOf(key: Generator, element: Generator, most = 4): Generator {
  return (draw) => new RegoObject(draw.list(most, (inner) => [key(inner), element(inner)] as const));
}

export function either<T extends Value>(...generators: readonly Generator<T>[]): Generator<T> {
  return (draw) => draw.one(generators)(draw);
}

export function of(...values: readonly string[]): Generator<string>;
export function of(...values: readonly Value[]): Generator;
export function of(...values: readonly Value[]): Generator {
  return (draw) => draw.one(values);
}

/** Of texts with a bar between them. */
export function listOf(joined: string): readonly string[] {
  return joined.split('¦');
}

export function ofList(joined: string): Generator<string> {
  return of(...listOf(joined));
}
