import { expect, test } from 'vitest';
import { FuelWindow } from '../../src/decision/fuel-window.ts';
import { tenantId } from '../../src/ids.ts';

const [busy, calm] = [tenantId('busy'), tenantId('calm')];
/** An evaluation of two milliseconds. */
const DEAR = 8_000_000;

/** How many of `count` evaluations the tenant gets at one moment. */
function evaluated(window: FuelWindow, count: number, now: number): number {
  let done = 0;
  for (let at = 0; at < count; at += 1) {
    if (window.ask(busy, now) > 0) continue;
    window.spend(busy, DEAR, now);
    done += 1;
  }
  return done;
}

test('a tenant that asks alone is never held back', () => {
  const window = new FuelWindow(1);
  for (let now = 0; now < 3_000; now += 10) expect(evaluated(window, 100, now)).toBe(100);
});

test('beside another it gets twenty milliseconds at once, and again in the next window', () => {
  const window = new FuelWindow(1);
  for (let now = 10_000; now < 10_400; now += 40) {
    window.ask(calm, now);
    expect(evaluated(window, 100, now)).toBe(10);
    expect(window.ask(busy, now + 5)).toBe(35);
    expect(window.ask(calm, now + 5)).toBe(0);
  }
});

test('whoever has not had its share goes on, also when all of it is spent', () => {
  const window = new FuelWindow(1);
  window.ask(calm, 0);
  evaluated(window, 100, 0);
  for (let at = 0; at < 5; at += 1) {
    expect(window.ask(calm, 1)).toBe(0);
    window.spend(calm, DEAR, 1);
  }
});

test('who has been silent for two seconds no longer counts', () => {
  const window = new FuelWindow(1);
  window.ask(calm, 0);
  window.ask(busy, 1_000);
  expect(evaluated(window, 100, 2_040)).toBe(100);
});

test('a clock that is set back holds nobody back for longer', () => {
  const window = new FuelWindow(1);
  window.ask(calm, 1_000_000);
  evaluated(window, 100, 1_000_000);
  window.ask(calm, 1_000);
  expect(window.ask(busy, 1_000)).toBe(0);
});

test('after a quiet hour whoever asks first is alone', () => {
  const window = new FuelWindow(1);
  for (let at = 0; at < 10; at += 1) window.ask(tenantId(`tenant-${at}`), 0);
  window.ask(busy, 3_600_000);
  expect(evaluated(window, 100, 3_600_000)).toBe(100);
});
