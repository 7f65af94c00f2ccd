import { expect, test } from 'vitest';
import { Backlog, partsOf, weightOf } from '../../../src/server/accepting/backlog.ts';

test('what main has not taken up keeps more from being sent, until it has', () => {
  const thread = new Backlog();
  const main = new Backlog(thread.shared);
  thread.send(3, { all: 5 });
  // What is heavier than the rest may go once.
  thread.send(3, { all: 5 });
  expect(() => thread.send(1, { all: 5 })).toThrow('too much waits to be served');
  main.take(3);
  thread.send(1, { all: 5 });
  main.take(3);
  main.take(1);
  expect(thread.waiting).toBe(0);
});

test('no address keeps the others out, and each has its room again once main has taken up what it sent', () => {
  const thread = new Backlog();
  const main = new Backlog(thread.shared);
  const most = { all: 10_000, each: 3 };
  for (let round = 0; round < 2_000; round += 1) {
    for (let at = 0; at < 3; at += 1) thread.send(1, most, 'a');
    expect(() => thread.send(1, most, 'a')).toThrow('too much waits to be served');
    thread.send(2, most, 'b');
    main.take(1);
    thread.send(1, most, 'a');
    expect(() => thread.send(1, most, 'a')).toThrow();
    main.take(5);
  }
  expect(thread.waiting).toBe(0);
});

test('its counts go round without a gap', () => {
  const thread = new Backlog();
  const main = new Backlog(thread.shared);
  for (let turn = 0; turn < 5; turn += 1) {
    thread.send(2 ** 30, { all: 1 });
    expect(() => thread.send(1, { all: 1 })).toThrow();
    main.take(2 ** 30);
    expect(thread.waiting).toBe(0);
  }
});

test('a request weighs what its headers do, of each kind', () => {
  const kib = 'x'.repeat(1_024);
  expect(weightOf('')).toBe(1);
  const headers = { a: kib, 'set-cookie': [kib, kib], none: undefined };
  expect(weightOf(...partsOf({ url: kib, headers }))).toBe(5);
});
