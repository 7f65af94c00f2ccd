import { Decisions, type DecisionsOptions } from '../../decision/decisions.ts';
import { metersMet } from '../../decision/metering/met.ts';
import { Recorder } from '../../decision/recorder.ts';
import type { CheckRequest } from '../../decision/request.ts';
import { vouchedPrincipal } from '../../delegation/vouched.ts';
import { systemClock, systemRandom } from '../../effects.ts';
import { ServiceError } from '../../errors.ts';
import type { PrincipalRef } from '../../ids.ts';
import type { Bundle } from '../../policy/bundle.ts';
import type { FailureListener } from '../../policy/health.ts';
import { Policies } from '../../policy/policies.ts';
import { killStore } from '../../storage/granting/ends.ts';
import { grantStore } from '../../storage/grants.ts';
import { principalStore } from '../../storage/principals/store.ts';
import { openReader } from '../../storage/reader.ts';
import type { TenantNo } from '../../storage/rows.ts';
import { Writer } from '../../storage/writer.ts';
import { factSource } from '../../tenancy/facts.ts';
import { Kills } from '../../tenancy/kills.ts';
import type { Tenant } from '../../tenancy/tenants.ts';
import type { DecidingOptions, Learnt } from './protocol.ts';

/** What decides in a thread that is not main: it hears from main all it knows of tenants. */
export interface Deciding extends AsyncDisposable {
  readonly decisions: Decisions;
  readonly policies: Policies;
  readonly writer: Writer;
  learn(learnt: Learnt): void;
  /** The tenant's principals changed, or what of it is killed. */
  changed(tenant: Tenant): void;
  /** How far what is known of the tenant is. */
  reached(no: TenantNo, version: number): void;
}

/** What is counted is decided by main, and never here by mistake. */
function countNothing({ manifest }: Tenant, { action }: CheckRequest): undefined {
  if (metersMet(manifest, action.name))
    throw new ServiceError('internal', 'what meters count is decided by main');
}

/** Has no credentials, no keys and no network of its own. */
export function assembleDeciding(
  options: DecidingOptions,
  admission: DecisionsOptions['admission'],
  onFailure: FailureListener,
): Deciding {
  const reader = openReader(options.folder);
  const writer = Writer.over(options.writer, options.writerPulse);
  // Facts are looked up in a view that lasts for a turn; what ended must be seen at once.
  const latest = openReader(options.folder);
  const grants = grantStore(latest, () => writer.ends);
  const facts = factSource(principalStore(reader));
  const kills = new Kills(killStore(latest), () => writer.ends);
  const { fuel, memoryMib, maxInstances } = options;
  const policies = new Policies({ clock: systemClock, fuel, memoryMib, maxInstances, onFailure });
  /** By the number of the tenant. */
  const versions: number[] = [];
  const policyOf = (tenant: Tenant, subject?: PrincipalRef) => policies.of(tenant, subject);
  const decisions = new Decisions({
    policyOf,
    // Nothing is waited for before it is decided.
    current: (tenant) => tenant,
    facts,
    kills,
    resolveToken: (tenant, token, now) => vouchedPrincipal(grants, tenant, token, now),
    meters: { look: countNothing },
    approvals: {
      present: () => Promise.reject(new ServiceError('internal', 'approvals are looked at by main')),
    },
    admission,
    writer,
    recorder: new Recorder({ policyOf, keys: undefined, admission, random: systemRandom }),
    clock: systemClock,
    versionOf: (no) => versions[no] ?? 0,
    random: systemRandom,
  });
  return {
    decisions,
    policies,
    writer,
    learn({ tenant, bundle, staged }) {
      policies.activate(tenant, owned(bundle));
      policies.stage(tenant, staged && { ...staged, bundle: owned(staged.bundle) });
    },
    changed(tenant) {
      facts.changed(tenant);
      kills.changed(tenant);
    },
    reached(no, version) {
      versions[no] = version;
    },
    async [Symbol.asyncDispose]() {
      await writer[Symbol.asyncDispose]();
      reader.close();
      latest.close();
    },
  };
}

const owned = (bundle: Bundle): Bundle => ({ ...bundle, wasm: Uint8Array.from(bundle.wasm) });
