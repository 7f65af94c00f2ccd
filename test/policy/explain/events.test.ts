import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { readConfig } from '../../../src/config.ts';
import { eachEvent, splitTrace } from '../../../src/policy/explain/events.ts';
import type { TraceEvent } from '../../../src/policy/explain/trace.ts';

/** Traces are read an event at a time, as OPA prints them: what is read is what JSON.parse reads. */

const folder = mkdtempSync(path.join(tmpdir(), 'mandate-events-'));
afterAll(() => rmSync(folder, { recursive: true }));

const REGO = `package t

allow if {
	some x in input.xs
	x == "\\n    {\\n"
	y := sprintf("%s\\n    }", [x])
	y == input.never
}

conflict := 1 if input.xs

conflict := 2 if input.xs
`;

const input = JSON.stringify({
  xs: ['\n    {\n', '\n    }', '\n  "explanation": [', '\n  ]', { a: [{ b: [] }] }, '"Op": "Redo"'],
});

function printed(query: string): string {
  const file = path.join(folder, 't.rego');
  writeFileSync(file, REGO);
  const { opa } = readConfig({ MANDATE_OPA: process.env['MANDATE_OPA'] });
  const args = [
    'eval',
    '--stdin-input',
    '--format',
    'json',
    '--explain',
    'full',
    '--disable-indexing',
    '-d',
    file,
    query,
  ];
  try {
    return execFileSync(opa, args, { input, encoding: 'utf8' });
  } catch (error) {
    // Of a policy that fails it exits 2, with the trace.
    return (error as { stdout: string }).stdout;
  }
}

test.each(['data.t.allow', 'data.t.conflict', 'data.t'])('%s', async (query) => {
  const text = printed(query);
  const whole = JSON.parse(text) as { explanation: TraceEvent[] };
  const split = splitTrace(text);
  const read: TraceEvent[] = [];
  await eachEvent(split?.trace ?? '', (event) => read.push(event));
  const { explanation, ...report } = whole;
  expect(read).toEqual(explanation.filter(({ Op: kind }) => !['Redo', 'Index'].includes(kind)));
  expect(read.length).toBeGreaterThan(5);
  expect(JSON.parse(split?.report ?? '')).toEqual({ ...report, explanation: [] });
});

test('what is printed otherwise is no trace', () => {
  expect(splitTrace('{"result": [], "explanation": [{"Op": "Enter"}]}')).toBeUndefined();
  expect(splitTrace('{\n  "errors": []\n}\n')).toBeUndefined();
});
