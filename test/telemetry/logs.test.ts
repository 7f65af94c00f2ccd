import { channel } from 'node:diagnostics_channel';
import { expect, test } from 'vitest';
import { type ErrorCode, ServiceError } from '../../src/errors.ts';
import { createLogger, logChannels } from '../../src/telemetry/logs.ts';

const errors = channel('mandate:error');

function collect(now: { ms: number }): { lines: string[] } & Disposable {
  const lines: string[] = [];
  const logger = createLogger('info', { write: (line: string) => void lines.push(line) });
  const listening = logChannels(logger, () => now.ms);
  return { lines, [Symbol.dispose]: () => listening[Symbol.dispose]() };
}

const publish = (code: ErrorCode, options: { cause?: unknown; detail?: string } = {}): void =>
  errors.publish({ error: new ServiceError(code, `it was ${code}`, options), where: 'test' });

test('an operator sees who was refused before there was a log to record it in, and not what a caller got wrong', () => {
  using seen = collect({ ms: 0 });
  publish('unauthenticated');
  publish('tenant_unknown');
  publish('invalid_request');
  expect(seen.lines.map((line) => (JSON.parse(line) as { code: string }).code)).toEqual([
    'unauthenticated',
    'tenant_unknown',
  ]);
});

test('strangers do not get to fill the log: the rest of a second is a count', () => {
  const now = { ms: 0 };
  using seen = collect(now);
  for (let knock = 0; knock < 1_000; knock += 1) publish('unauthenticated');
  expect(seen.lines).toHaveLength(20);
  now.ms = 1_000;
  publish('unauthenticated');
  expect(JSON.parse(seen.lines[20] ?? '')).toMatchObject({ left_out: 980 });
});

test('a fault that a caller can bring about again and again is bounded like any line, each kind for itself', () => {
  const now = { ms: 0 };
  using seen = collect(now);
  for (let each = 0; each < 500; each += 1) {
    publish('internal', { cause: new Error('a stack each time') });
    publish('unavailable');
  }
  publish('permission_denied');
  const codes = seen.lines.map((line) => (JSON.parse(line) as { code: string }).code);
  expect(codes.filter((code) => code === 'internal')).toHaveLength(20);
  expect(codes.filter((code) => code === 'unavailable')).toHaveLength(20);
  expect(codes.filter((code) => code === 'permission_denied')).toHaveLength(1);
  now.ms = 60_000;
  publish('internal');
  expect(seen.lines.slice(41).map((line) => JSON.parse(line) as object)).toMatchObject([
    { kind: 'internal', left_out: 480 },
    { kind: 'unavailable', left_out: 480 },
    { code: 'internal' },
  ]);
});

test('a fault of ours is written with its causes, and never with a secret', () => {
  using seen = collect({ ms: 0 });
  publish('internal', {
    cause: new Error('disk on fire', { cause: new Error('a match') }),
    detail: 'the writer',
  });
  expect(seen.lines[0]).toContain('disk on fire');
  expect(seen.lines[0]).toContain('a match');
  const lines: string[] = [];
  createLogger('info', { write: (line: string) => void lines.push(line) }).info(
    { authorization: 'Bearer s3cr3t', request: { token: 's3cr3t' } },
    'x',
  );
  expect(lines[0]).not.toContain('s3cr3t');
});

test('a bundle that is not taken is a warning, once for the same', () => {
  using seen = collect({ ms: 0 });
  const news = { tenant: 'acme', source: 'https://x/a.tar.gz', outcome: 'refused', why: 'it is not signed' };
  channel('mandate:bundle.pulled').publish({ ...news, isNews: true });
  channel('mandate:bundle.pulled').publish({ ...news, isNews: false });
  expect(seen.lines.map((line) => JSON.parse(line) as object)).toMatchObject([
    { level: 40, ...news, msg: 'the bundle is not taken' },
  ]);
});
