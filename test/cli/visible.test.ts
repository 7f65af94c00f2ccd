import { describe, expect, test } from 'vitest';
import { visible, visibleJson, visibleLines } from '../../src/cli/terminal/visible.ts';
import { createLogger } from '../../src/telemetry/logs.ts';

const HOSTILE = '\u001b]0;owned\u0007\u001b[2J\r\n\u009b31m\u202emoc.live\u2028\u007f\u0000';
/** Whatever a terminal acts on instead of showing it. */
const ACTED_ON = /[\p{Cc}\u2028-\u202e\u2066-\u2069]/u;

describe('what a request once said is shown, not acted on', () => {
  test('on one line', () => {
    expect(visible(HOSTILE)).toBe(
      '\\x1b]0;owned\\x07\\x1b[2J\\x0d\\x0a\\x9b31m\\u202emoc.live\\u2028\\x7f\\x00',
    );
    expect(visible('half \ud800 a pair, whole \u{1f600}')).toBe('half \\ud800 a pair, whole \u{1f600}');
    expect(visible('Zoë, 東京, עברית')).toBe('Zoë, 東京, עברית');
  });

  test('on lines of our own', () => {
    expect(visibleLines('a\n\tb\u001b[0m')).toBe('a\n\tb\\x1b[0m');
  });

  test('as the same JSON', () => {
    const json = JSON.stringify({ [HOSTILE]: HOSTILE }, null, 2);
    expect(visibleJson(json).replaceAll('\n', '')).not.toMatch(ACTED_ON);
    expect(JSON.parse(visibleJson(json))).toEqual({ [HOSTILE]: HOSTILE });
  });

  test('in the log that a server writes', () => {
    const lines: string[] = [];
    createLogger('info', { write: (line: string) => void lines.push(line) }).info(
      { detail: HOSTILE },
      HOSTILE,
    );
    expect(lines.map((line) => line.trimEnd()).join('')).not.toMatch(ACTED_ON);
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({ detail: HOSTILE, msg: HOSTILE });
  });
});
