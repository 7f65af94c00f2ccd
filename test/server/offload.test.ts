import { performance } from 'node:perf_hooks';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { TenantId } from '../../src/ids.ts';
import { OwnCalls } from '../../src/server/offload/own.ts';

/** Which single calls main decides itself. */

const tenant = 'acme' as TenantId;
let utilization = 0;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
  utilization = 0;
  vi.spyOn(performance, 'eventLoopUtilization').mockImplementation(() => ({
    idle: 0,
    active: 0,
    utilization,
  }));
});
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

const calls = (spareCores: number, dearest = 1_000): OwnCalls =>
  new OwnCalls({ dearest: () => dearest }, spareCores);

test('with two cores all that are small and cheap, however busy it is', () => {
  using own = calls(0);
  utilization = 1;
  expect(own.has(tenant, 300)).toBe(true);
  vi.advanceTimersByTime(1_000);
  expect([own.has(tenant, 300), own.has(tenant, 5_000)]).toEqual([true, false]);
  using dear = calls(0, 1_000_000);
  expect(dear.has(tenant, 300)).toBe(false);
});

test('with more of them none while it is full, until it has the time for twice as many', () => {
  using own = calls(2);
  const at = (busy: number): boolean => {
    utilization = busy;
    own.has(tenant, 300);
    vi.advanceTimersByTime(50);
    return own.has(tenant, 300);
  };
  expect([at(0.3), at(0.85), at(0.95), at(0.6), at(0.5), at(0.35), at(0.85)]).toEqual([
    true,
    true,
    false,
    false,
    false,
    true,
    true,
  ]);
});

test('nobody looks while nobody calls', () => {
  using own = calls(2);
  own.has(tenant, 300);
  vi.advanceTimersByTime(200);
  expect(vi.getTimerCount()).toBe(0);
  expect(own.has(tenant, 300)).toBe(true);
});
