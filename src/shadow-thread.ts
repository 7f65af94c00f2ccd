import { parentPort, workerData } from 'node:worker_threads';
import { replay } from './decision/replay/run.ts';
import type { FromShadow, ToShadow } from './decision/replay/shadows.ts';
import { Tally } from './decision/replay/tally.ts';
import { describe } from './errors.ts';
import { SoloPolicy } from './policy/solo.ts';
import { partStore } from './storage/log/parts.ts';
import { recordStore } from './storage/log/records.ts';
import { openReader } from './storage/reader.ts';
import type { TenantNo } from './storage/rows.ts';

/** How often logs are looked at, and for how long one keeps the others waiting, in milliseconds. */
const LOOK_MS = 250;
const TURN_MS = 100;

interface Followed {
  readonly candidate: SoloPolicy;
  readonly base: SoloPolicy | undefined;
  at: number;
}

/**
 * The composition root of the thread that asks shadows: it follows the logs of their tenants, reads the store and writes
 * nothing. Whoever decides knows nothing of it.
 */
if (parentPort) {
  const port = parentPort;
  const { folder } = workerData as { folder: string };
  const reader = openReader(folder);
  const records = recordStore(reader);
  const parts = partStore(reader);
  const followed = new Map<TenantNo, Followed>();
  const say = (message: FromShadow): void => port.postMessage(message);

  const follow = (no: TenantNo, each: Followed): void => {
    const size = records.size(no);
    if (size <= each.at) return;
    const tally = new Tally();
    const selection = {
      tenantNo: no,
      from: each.at,
      to: size,
      since: 0,
      until: Number.POSITIVE_INFINITY,
      principalClass: undefined,
    };
    const began = performance.now();
    for (const passed of replay({ records, parts, ...each }, selection, tally)) {
      each.at += passed;
      if (performance.now() - began > TURN_MS) break;
    }
    const { counts, examples } = tally;
    say({ no, counts, groups: [...tally.groups.values()], examples, behind: size - each.at });
  };

  const look = (): void => {
    for (const [no, each] of followed)
      try {
        follow(no, each);
      } catch (error) {
        followed.delete(no);
        say({ no, problem: describe(error) });
      }
  };
  const timer = setInterval(look, LOOK_MS);

  port.on('message', (message: ToShadow) => {
    if (message === 'close') {
      clearInterval(timer);
      reader.close();
      port.close();
    } else if ('end' in message) followed.delete(message.end);
    else {
      const { no, candidate, base, limits } = message;
      try {
        const at = message.from ?? followed.get(no)?.at ?? records.size(no);
        followed.set(no, {
          candidate: new SoloPolicy(candidate, limits),
          base: base && new SoloPolicy(base, limits),
          at,
        });
      } catch (error) {
        followed.delete(no);
        say({ no, problem: describe(error) });
      }
    }
  });
}
