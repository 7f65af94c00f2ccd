import { readFileSync } from 'node:fs';
import { RegoObject, type Value } from '../../../../src/policy/engine/values/values.ts';
import { type Draw, type Generator, text } from './draw.ts';

/** Made by openssl once, good for a hundred years from November 2026 on, but for one that is good for a day: a root, an authority that it constrains, and leaves of many a kind. */
const pem: Readonly<Record<string, string>> = Object.fromEntries(
  readFileSync(new URL('./certificates.pem', import.meta.url), 'utf8')
    .split(/^# /m)
    .filter((part) => part !== '')
    .map((part) => [part.slice(0, part.indexOf('\n')), part.slice(part.indexOf('\n') + 1)] as const),
);
const names = Object.keys(pem);
const leaves = names.filter((name) => name.endsWith('.crt'));

const one = (draw: Draw, of: readonly string[]): string => pem[draw.one(of)] ?? '';

/** As it is, in base64, as DER, with something around, or with a character changed. */
function written(draw: Draw, value: string): string {
  const der = (): string => value.replaceAll(/-----.*-----|\n/g, '');
  return draw.one([
    () => value,
    () => value,
    () => Buffer.from(value).toString('base64'),
    der,
    () => `x\n${value}`,
    () => `${value}x`,
    () => spoiled(draw, value),
  ])();
}

/** At a place within, a bit of DER that is another. */
function spoiled(draw: Draw, value: string): string {
  const [begin = '', ...lines] = value.trim().split('\n');
  const end = lines.pop() ?? '';
  const der = Buffer.from(lines.join(''), 'base64');
  der[draw.below(Math.min(der.length, draw.one([40, 2_000])))] = draw.below(256);
  return `${begin}\n${der.toString('base64')}\n${end}\n`;
}

export const anyPem: Generator<string> = (draw) =>
  draw.chance(12) ? text(draw) : written(draw, one(draw, names));
export const certificates: Generator<string> = (draw) =>
  draw.chance(6) ? anyPem(draw) : written(draw, one(draw, leaves));
export const chain: Generator<string> = (draw) => {
  const between = draw.chance(6) ? draw.list(3, (inner) => one(inner, leaves)) : [pem['mid.crt'] ?? ''];
  const whole = [pem['root.crt'] ?? '', ...between, one(draw, leaves)].join('');
  return draw.chance(8) ? written(draw, whole) : whole;
};
export const request: Generator<string> = (draw) =>
  written(draw, draw.chance(4) ? one(draw, names) : (pem['request.csr'] ?? ''));
export const keys: Generator<string> = (draw) =>
  written(draw, draw.chance(5) ? one(draw, names) : one(draw, ['rsa.key', 'mid.key', 'leaf.key']));
export const pairs = (draw: Draw): readonly Value[] => {
  const [certificate, key] = draw.one([
    ['root.crt', 'rsa.key'],
    ['mid.crt', 'mid.key'],
    ['leaf.crt', 'leaf.key'],
    ['leaf.crt', 'mid.key'],
  ]);
  return [written(draw, pem[certificate ?? ''] ?? ''), written(draw, pem[key ?? ''] ?? '')];
};

const hosts = [
  'a.example.com',
  'A.EXAMPLE.com.',
  'x.b.example.com',
  'x.y.b.example.com',
  '10.1.2.3',
  '[10.1.2.3]',
  'a.example.org',
  '',
  '"a.example.com"',
];
const usages = ['KeyUsageAny', 'KeyUsageServerAuth', 'KeyUsageClientAuth', 'KeyUsageCodeSigning', 'x'];

export const purpose: Generator = (draw) =>
  new RegoObject([
    ...(draw.chance(2) ? [['DNSName', draw.one(hosts)] as const] : []),
    ...(draw.chance(2)
      ? [
          [
            'CurrentTime',
            draw.one([
              1_900_000_000_000_000_000n,
              1_800_000_000_000_000_000n,
              1_580_000_000_000_000_000n,
              1,
              'x',
            ]),
          ] as const,
        ]
      : []),
    ...(draw.chance(2) ? [['KeyUsages', draw.list(2, (inner) => inner.one(usages))] as const] : []),
    ...(draw.chance(12) ? [['x', 1] as const] : []),
  ]);
