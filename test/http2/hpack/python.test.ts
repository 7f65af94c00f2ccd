import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { expect, test } from 'vitest';
import { Decoding, hex, type Pair } from './decoding.ts';

/** Beside Python's `hpack`, an encoder that changes the size of its table; fetched from PyPI where it is not there. */

const PACKAGE = 'hpack==4.1.0';
const folder = path.resolve('var', 'python-hpack');
const env = { ...process.env, PYTHONPATH: [folder, process.env['PYTHONPATH'] ?? ''].join(path.delimiter) };
const python = (...args: string[]): string =>
  execFileSync('python3', args, {
    env,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    maxBuffer: 2 ** 28,
  });

/** Why it cannot be had, or undefined. */
function whatIsMissing(): string | undefined {
  try {
    python('--version');
  } catch {
    return 'python3 is missing';
  }
  try {
    python('-c', 'import hpack');
  } catch {
    try {
      python(
        '-m',
        'pip',
        'install',
        '--quiet',
        '--timeout',
        '10',
        '--retries',
        '0',
        '--target',
        folder,
        PACKAGE,
      );
    } catch {
      return `${PACKAGE} is missing, and pip does not get it`;
    }
  }
  return undefined;
}

const missing = whatIsMissing();

test.skipIf(missing !== undefined)(
  'RFC 7541 4.2: any fields in tables that change their size, as Python encodes them',
  () => {
    for (const seed of [1, 2, 3]) {
      const decoding = new Decoding();
      const lines = python(path.join(import.meta.dirname, 'encode.py'), String(seed), '1000')
        .trim()
        .split('\n');
      expect(lines).toHaveLength(1000);
      for (const [at, line] of lines.entries()) {
        const { block, fields } = JSON.parse(line) as { block: string; fields: Pair[] };
        const decoded = decoding.fields(hex(block), 2 ** 24);
        expect([at, decoded.list]).toEqual([at, fields.flat()]);
      }
    }
  },
);

test.runIf(missing !== undefined)('Python hpack is skipped', ({ skip }) => skip(missing));
