import { expect, test } from 'vitest';
import { Places } from '../../../src/server/intake/places.ts';
import { countedAs } from '../../../src/server/peer.ts';

test('nobody gets all places, and what is given back is free again, once', () => {
  const places = new Places({ total: 3, each: 2, full: 'full' });
  const first = places.take('a');
  places.take('a');
  expect(() => places.take('a')).toThrow('full');
  places.take('b');
  expect(() => places.take('c')).toThrow('full');
  first[Symbol.dispose]();
  first[Symbol.dispose]();
  expect(places.taken).toBe(2);
  places.take('c');
  expect(places.tryTake('b')).toBe(false);
});

test.each([
  ['192.0.2.7', '192.0.2.7'],
  ['::ffff:192.0.2.7', '192.0.2.7'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2'],
  ['2001:db8::1', '2001:db8:0:0'],
  ['2001:db8:1:2::1', '2001:db8:1:2'],
  ['fe80::1%eth0', 'fe80:0:0:0'],
  ['::1', '0:0:0:0'],
])('%s is counted as %s: of IPv6, whoever has one address has its network', (address, counted) => {
  expect(countedAs(address)).toBe(counted);
});
