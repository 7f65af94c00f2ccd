import type { Worker } from 'node:worker_threads';
import { type CallOptions, credentials } from '@grpc/grpc-js';
import { expect } from 'vitest';
import type { Overrides } from '../../../src/config.ts';
import { asks, type Served, serve, type TenantFiles } from '../../containment/tenants.ts';
import { Grpc, struct } from '../grpc.ts';
import { eventually, sha256 } from '../server.ts';

/** A server whose data plane's connections are all those of two threads, and many connections to it. */

export const SECRET = 'accepting-test-enforcement-point-secret-1';
export const SPARE = 'accepting-test-enforcement-point-secret-2';

export const caller = {
  class: 'service',
  id: 'pep',
  credentials: [{ id: 'first', secret_sha256: sha256(SECRET) }],
};
export const user = { class: 'user', id: 'u', roles: ['reader'], properties: { team: 'a' } };
export const principals = [user, caller];

export const POLICY = `package authz

default allow := false

allow if {
	input.action.name == "read"
	"reader" in input.subject.roles
}

deny contains {"code": "archived", "message": "it rests"} if input.resource.properties.archived

obligations contains {"type": "watermark", "on": "allow"} if input.context.marked
`;

export const ALLOW = 'package authz\n\nallow := true\n';
export const DENY = 'package authz\n\nallow := false\n';

export const meters = { writes: { actions: ['write'], per: 'subject' } };
const METERED = `package authz

default allow := false

allow if input.action.name == "read"

allow if {
	input.action.name == "write"
	input.usage.writes < 5
}
`;

export const TENANTS: readonly TenantFiles[] = [
  { id: 'one', rego: POLICY, manifest: { principals } },
  { id: 'two', rego: ALLOW, manifest: { principals } },
  { id: 'metered', rego: METERED, manifest: { principals, meters } },
  {
    id: 'sealed',
    rego: ALLOW,
    manifest: { principals, audit: { sealed: [{ path: '/context/iban' }] } },
  },
];

export const THREADS = { accept_threads: 2, accept_from: 'start' } as const satisfies Overrides;

export interface Answer {
  decision: string;
  reasons: { code: string }[];
  obligations: object[];
  decision_id: string;
  policy_revision: string;
  record_index: number;
  cost: number;
}

/** So many that one of two threads has none of them once in 32,768 times. */
const CONNECTIONS = 16;

export interface Started extends AsyncDisposable {
  readonly served: Served;
  /** Each on a connection of its own. */
  readonly peps: readonly Grpc[];
}

export async function started(
  overrides: Overrides = {},
  tenants = TENANTS,
  connections = CONNECTIONS,
): Promise<Started> {
  const served = await serve(tenants, { decision_threads: 0, ...THREADS, ...overrides });
  const peps = Array.from({ length: connections }, () => alone(served.data));
  return {
    served,
    peps,
    [Symbol.asyncDispose]: async () => {
      for (const pep of peps) pep[Symbol.dispose]();
      await served[Symbol.asyncDispose]();
    },
  };
}

/** With its threads that accept connections, the newest last. */
export interface Watched extends Started {
  readonly workers: readonly Worker[];
}

export async function watched(...how: Parameters<typeof started>): Promise<Watched> {
  const workers: Worker[] = [];
  const watch = (worker: Worker): void => {
    if (worker.threadName === 'mandate-accepting') workers.push(worker);
  };
  process.on('worker', watch);
  const fresh = await started(...how);
  return {
    ...fresh,
    workers,
    [Symbol.asyncDispose]: async () => {
      process.off('worker', watch);
      await fresh[Symbol.asyncDispose]();
    },
  };
}

/** A client that shares its connection with no other. */
export const alone = (url: string, secret: string | undefined = SECRET): Grpc =>
  new Grpc(url, secret, credentials.createInsecure(), { 'grpc.use_local_subchannel_pool': 1 });

export const asked = (tenant: string, changes: object = {}): object => ({
  ...asks(tenant),
  context: struct({}),
  ...changes,
});

export const ask = (
  pep: Grpc,
  tenant: string,
  changes: object = {},
  options?: CallOptions,
): Promise<Answer> => pep.call<Answer>('DecisionService', 'Check', asked(tenant, changes), options);

/** The decision of each, or the code that it was refused with. */
export const saidTo = (peps: readonly Grpc[], tenant: string, changes: object = {}): Promise<string[]> =>
  Promise.all(peps.map((pep) => said(ask(pep, tenant, changes))));

export async function said(answer: Promise<Answer>): Promise<string> {
  try {
    const { decision, reasons } = await answer;
    return reasons[0]?.code ?? decision;
  } catch (error) {
    const { metadata } = error as { metadata?: { get(name: string): (string | Buffer)[] } };
    const code = String(metadata?.get('mandate-error-code')[0] ?? '');
    if (code === '') throw error;
    return code;
  }
}

/** Runs calls, and tells how many of them the threads decided and how many they handed over: so many in all. */
export async function counted<T>(
  { mandate }: Served,
  calls: number,
  run: () => Promise<T>,
): Promise<{ value: T; decided: number; handed: number }> {
  const counts = () => mandate.services.accepting?.counts ?? { decided: 0, handed: 0 };
  const before = counts();
  const value = await run();
  const since = async () => ({
    decided: counts().decided - before.decided,
    handed: counts().handed - before.handed,
  });
  // What a thread has decided main hears of a moment after the answer.
  const { decided, handed } = await eventually(since, (sum) => sum.decided + sum.handed >= calls);
  return { value, decided, handed };
}

/** Asks over all connections, again until the threads decide each call themselves, and expects the same each time. */
export async function allSay(
  { served, peps }: Pick<Started, 'served' | 'peps'>,
  tenant: string,
  expected: string,
  changes: object = {},
): Promise<void> {
  await eventually(
    async () => {
      const { value, handed } = await counted(served, peps.length, () => saidTo(peps, tenant, changes));
      expect(value).toEqual(peps.map(() => expected));
      return handed;
    },
    (handed) => handed === 0,
  );
}

/** Asks without a pause, over one connection after the other, until it is disposed. */
export function background(
  peps: readonly Grpc[],
  tenant: string,
): AsyncDisposable & { readonly answers: number } {
  const state = { over: false, answers: 0 };
  const under = peps.map(async (pep) => {
    while (!state.over) {
      await said(ask(pep, tenant));
      state.answers += 1;
    }
  });
  return {
    get answers() {
      return state.answers;
    },
    [Symbol.asyncDispose]: async () => {
      state.over = true;
      await Promise.all(under);
    },
  };
}
