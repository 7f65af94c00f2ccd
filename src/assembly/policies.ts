import path from 'node:path';
import { recentQuestions } from '../decision/replay/recent.ts';
import { Shadows } from '../decision/replay/shadows.ts';
import { Trials } from '../decision/replay/trials.ts';
import type { TenantId } from '../ids.ts';
import type { Bundle } from '../policy/bundle.ts';
import { Compiler } from '../policy/compiler.ts';
import { Fleet } from '../policy/intake/fleet.ts';
import { filesReader, putPlace } from '../policy/intake/kept-files.ts';
import { Policies } from '../policy/policies.ts';
import { limitsFor } from '../policy/proof.ts';
import { Pulls } from '../policy/pulling/pulls.ts';
import { Memory } from '../policy/pulling/remembered.ts';
import { Releases } from '../policy/revisions/releases.ts';
import { TestGate } from '../policy/testing/gate.ts';
import { toServiceError } from '../server/errors.ts';
import { limitsOf, pulledTenants } from '../settings.ts';
import type { PartStore } from '../storage/log/parts.ts';
import type { RecordStore } from '../storage/log/records.ts';
import { putTenantStore } from '../storage/put-tenants.ts';
import { revisionStore } from '../storage/revisions/store.ts';
import type { Administration } from '../tenancy/administration.ts';
import type { Tenants } from '../tenancy/tenants.ts';
import type { Parts } from './parts.ts';

interface PolicyParts {
  readonly tenants: Tenants;
  readonly administration: Administration;
  readonly records: RecordStore;
  readonly shared: PartStore;
  /** Called with a tenant whose policy is another. */
  readonly forget: (tenant: TenantId) => void;
}

/** What compiles, tests, keeps and serves the policies of tenants, from wherever they come. */
export function assemblePolicies(
  { config, writer, reader, clock, random }: Parts,
  { tenants, administration, records, shared, forget }: PolicyParts,
  stack: AsyncDisposableStack,
) {
  const policies = new Policies({
    clock,
    ...limitsOf(config),
    onChange: forget,
  });
  const compilerOptions = {
    opa: config.opa,
    policies: path.join(config.home, 'policies'),
    cache: path.join(config.data_dir, 'policy-cache'),
  };
  const compiler = new Compiler(compilerOptions);
  const revisions = revisionStore(reader);
  const releases = new Releases({
    tenants,
    policies,
    compiler,
    gate: new TestGate(compilerOptions),
    store: revisions,
    administration,
    clock,
    allowance: limitsOf(config),
    questions: ({ no }, most) => recentQuestions({ records, parts: shared }, no, most),
    activated: (tenant) => void trials.follow(tenant).catch((error) => toServiceError(error, 'policies')),
  });
  const shadows = stack.use(
    new Shadows({
      folder: config.data_dir,
      clock,
      sizeOf: (no) => records.size(no),
      isServed: ({ id }) => tenants.find(id) !== undefined,
      record: (tenant, revision, detail) => {
        const row = administration.record(tenant, 'server', 'policy.shadow', undefined, detail, { revision });
        writer.append(row).catch((error: unknown) => toServiceError(error, 'policies'));
      },
    }),
  );
  const trials = new Trials<Bundle>({
    store: revisions,
    shadows,
    bundleOf: (tenant, revision) => releases.kept.bundleOf(tenant, revision),
    withPackage: (...of) => releases.kept.withPackage(...of),
    activeOf: (tenant) => policies.bundleOf(tenant),
    stage: (tenant, staged) => policies.stage(tenant, staged),
    limitsOf: (tenant) => limitsFor(tenant.manifest, limitsOf(config)),
    write: (...trial) => administration.tryRevision(...trial),
  });
  const pulls = stack.use(
    new Pulls(pulledTenants(config), {
      tenants,
      policies,
      releases,
      store: revisions,
      administration,
      memory: new Memory(path.join(config.data_dir, 'bundles')),
      random,
    }),
  );
  const put = putTenantStore(reader);
  const fleet = stack.use(
    new Fleet({
      pulls,
      tenants,
      policies,
      compiler,
      releases,
      administration,
      clock,
      read: filesReader(put),
      put: () => put.list().map(putPlace),
      watchesAll: config.dev,
    }),
  );
  return { policies, compilerOptions, compiler, revisions, releases, shadows, trials, pulls, fleet };
}
