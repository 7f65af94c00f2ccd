import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'vitest';
import type { Overrides } from '../../../src/config.ts';
import { asks, type Served, serve } from '../../containment/tenants.ts';
import { Grpc, struct } from '../grpc.ts';
import { sha256 } from '../server.ts';

/** A server with three tenants whose first decision thread is ready. */

export const SECRET = 'offload-test-enforcement-point-secret-01';
export const caller = { class: 'service', id: 'pep', credentials: [{ secret_sha256: sha256(SECRET) }] };
export const principals = [{ class: 'user', id: 'u', roles: ['reader'], properties: { team: 'a' } }, caller];

const POLICY = `package authz

default allow := false

allow if {
	input.action.name == "read"
	"reader" in input.subject.roles
}

allow if {
	input.action.name == "loop"
	xs := numbers.range(1, 200000)
	count([1 | some x in xs; some y in xs; x + y == -1]) == 0
}

# A good part of a millisecond, and within the budget.
allow if {
	input.action.name == "dear"
	count([x | some x in numbers.range(1, 600); x > 0]) > 0
}

deny contains {"code": "archived", "message": "it rests"} if input.resource.properties.archived

obligations contains {"type": "watermark", "on": "allow"} if input.context.marked
`;

const meters = { writes: { actions: ['write'], per: 'subject' } };
const METERED = `package authz

default allow := false

allow if input.action.name == "read"

allow if {
	input.action.name == "write"
	input.usage.writes < 5
}
`;

export interface Answer {
  decision: string;
  reasons: { code: string }[];
  obligations: object[];
  decision_id: string;
  policy_revision: string;
  record_index: number;
  cost: number;
}

export interface Started extends AsyncDisposable {
  readonly served: Served;
  readonly pep: Grpc;
}

export async function started(overrides: Overrides = {}): Promise<Started> {
  const served = await serve(
    [
      { id: 'one', rego: POLICY, manifest: { principals } },
      { id: 'two', rego: 'package authz\n\nallow := true\n', manifest: { principals } },
      { id: 'metered', rego: METERED, manifest: { principals, meters } },
    ],
    { fuel: 3_000_000, ...overrides },
  );
  const pep = new Grpc(served.data, SECRET);
  // The first request that could use it makes it start.
  await ask(pep, 'one');
  await until(() => served.mandate.services.offload?.ready === 1);
  return {
    served,
    pep,
    [Symbol.asyncDispose]: async () => {
      pep[Symbol.dispose]();
      await served[Symbol.asyncDispose]();
    },
  };
}

/** By a stream: a single call is main's own. */
export const ask = (pep: Grpc, tenant: string, changes: object = {}): Promise<Answer> =>
  pep.checkByStream<Answer>({ ...asks(tenant), context: struct({}), ...changes });

/** By a single call. */
export const askAlone = (pep: Grpc, tenant: string, changes: object = {}): Promise<Answer> =>
  pep.call<Answer>('DecisionService', 'Check', { ...asks(tenant), context: struct({}), ...changes });

/** Runs calls and counts those that the thread answered. */
export async function onThread<T>(
  served: Served,
  calls: () => Promise<T>,
): Promise<{ value: T; answered: number }> {
  const before = served.mandate.services.offload?.answered ?? 0;
  const value = await calls();
  return { value, answered: (served.mandate.services.offload?.answered ?? 0) - before };
}

/** More than a thread takes before the next one is asked, whatever it does meanwhile. */
export const FLOOD = 4_000;

/** How often each decision was given. */
export async function flood(pep: Grpc): Promise<Record<string, number>> {
  const stream = pep.duplex('DecisionService', 'CheckStream');
  const said: Record<string, number> = {};
  stream.on('data', ({ response, error }: { response?: Answer; error?: { code: string } }) => {
    const word = response?.decision ?? error?.code ?? '';
    said[word] = (said[word] ?? 0) + 1;
  });
  const message = { ...asks('two'), context: struct({ padding: 'x'.repeat(1_000) }) };
  for (let id = 1; id <= FLOOD; id += 1) stream.write({ correlation_id: id, request: message });
  stream.end();
  await once(stream, 'end');
  return said;
}

export async function until(holds: () => boolean): Promise<void> {
  for (let turn = 0; turn < 500 && !holds(); turn += 1) await delay(10);
  expect(holds()).toBe(true);
}
