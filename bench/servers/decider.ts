import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { readConfig } from '../../src/config.ts';
import type { UncheckedRequest } from '../../src/decision/request.ts';
import { type Mandate, start } from '../../src/main.ts';
import type { Caller } from '../../src/tenancy/callers.ts';
import type { Tenant } from '../../src/tenancy/tenants.ts';
import type { DeciderOptions, DeciderReady, DeciderRound } from '../harness/decider.ts';
import { factsOf, writeTenant } from '../peers/mandate/tenant.ts';
import { dice, principal, type Question, questions } from '../scenario/questions.ts';

/**
 * A whole Mandate in a process of its own, asked without a network between: what is measured is what decisions cost
 * as tenants and principals grow in number. harness/decider.ts starts it and talks to it.
 */
/** As many as one CheckStream works on at once: with fewer, the commit's latency counts and not its cost. */
const IN_FLIGHT = 1_024;
const PUT_AT_ONCE = 10_000;
/** How many of a tenant's people stand in its manifest. */
const DECLARED = 10;

const options = JSON.parse(process.argv[2] ?? '{}') as DeciderOptions;
const folder = path.join(options.folder, 'tenants');
mkdirSync(folder, { recursive: true });
const people = Array.from({ length: DECLARED }, (_, n) => principal(n));
for (let n = 0; n < options.tenants; n += 1) writeTenant(folder, { id: `tenant-${n}`, principals: people });

const began = performance.now();
const mandate = await start(
  readConfig(
    {},
    {
      dev: true,
      data: '127.0.0.1:0',
      admin: '127.0.0.1:0',
      data_dir: path.join(options.folder, 'data'),
      tenants: [folder],
    },
  ),
);
const startMs = performance.now() - began;
const tenants = [...mandate.tenants].sort((a, b) => a.no - b.no);
await populate(mandate);
const callers = tenants.map((tenant) =>
  mandate.services.callers.authenticate(tenant, { kind: 'none', loopback: true }, 'check'),
);
const roll = dice(7);
const which = zipf(tenants.length);
const who = zipf(options.principals);
const documents = questions(1_000, DECLARED);

process.on('message', (seconds: number) => {
  void round(seconds).then((seen) => process.send?.(seen));
});
process.on('disconnect', () => process.exit(0));
process.send?.({
  startMs,
  loadMs: performance.now() - began - startMs,
  residentMib: residentMib(),
} satisfies DeciderReady);

/** Puts the people who are not in the manifest into the first tenant's directory. */
async function populate({ services }: Mandate): Promise<void> {
  const [tenant] = tenants;
  if (!tenant) throw new Error('no tenant');
  for (let from = DECLARED; from < options.principals; from += PUT_AT_ONCE) {
    const count = Math.min(PUT_AT_ONCE, options.principals - from);
    const rows = Array.from({ length: count }, (_, n) => ({
      class: 'user' as const,
      groups: [],
      scopes: [],
      credentials: [],
      client_ids: [],
      resources: [],
      owners: [],
      ...factsOf(principal(from + n)),
    }));
    await services.administration.principals.put(tenant, 'bench', rows);
  }
}

/** As many decisions as there is time for, from the request to the durable record. */
async function round(seconds: number): Promise<DeciderRound> {
  const cpu = process.cpuUsage();
  const from = performance.now();
  let decided = 0;
  const asker = async (): Promise<void> => {
    while (performance.now() - from < seconds * 1000) {
      const at = which(roll);
      await mandate.services.decisions.check(
        tenants[at] as Tenant,
        callers[at] as Caller,
        requestOf(documents[decided % documents.length] as Question, who(roll)),
      );
      decided += 1;
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, asker));
  const { user, system } = process.cpuUsage(cpu);
  return {
    micros: ((performance.now() - from) * 1000) / decided,
    cpuMicros: (user + system) / decided,
    decided,
    residentMib: residentMib(),
  };
}

const requestOf = ({ action, document: { id, ...properties } }: Question, who: number): UncheckedRequest => ({
  subject: { type: 'user', id: principal(who).id },
  action: { name: action },
  resource: { type: 'document', id, properties },
});

/** Zipf's law with exponent 1: the nth asks a 1/n as often as the first. */
function zipf(count: number): (sides: (n: number) => number) => number {
  const sums = new Float64Array(count);
  let sum = 0;
  for (let n = 0; n < count; n += 1) {
    sum += 1 / (n + 1);
    sums[n] = sum;
  }
  return (sides) => {
    const mark = (sides(1_000_000) / 1_000_000) * sum;
    let [low, high] = [0, count - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((sums[middle] ?? 0) > mark) high = middle;
      else low = middle + 1;
    }
    return low;
  };
}

function residentMib(): number {
  return process.memoryUsage.rss() / 1024 / 1024;
}
