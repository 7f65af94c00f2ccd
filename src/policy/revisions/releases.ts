import { channel } from 'node:diagnostics_channel';
import type { Clock } from '../../effects.ts';
import { ServiceError } from '../../errors.ts';
import type { Activation } from '../../storage/revisions/commands.ts';
import type { NewRevision, RevisionRow } from '../../storage/revisions/rows.ts';
import type { RevisionStore } from '../../storage/revisions/store.ts';
import type { Administration } from '../../tenancy/administration.ts';
import type { TenantFiles } from '../../tenancy/folder/read.ts';
import type { Manifest } from '../../tenancy/manifest.ts';
import type { Tenant, Tenants } from '../../tenancy/tenants.ts';
import { Turns } from '../../turns.ts';
import type { Policies } from '../policies.ts';
import { limitsFor, prove } from '../proof.ts';
import { type SourceFile, sourcesOf } from '../sources.ts';
import type { TestResult } from '../testing/gate.ts';
import {
  type Candidate,
  type CandidateParts,
  rowOf,
  testedCandidate,
  untestedCandidate,
} from './candidate.ts';
import { contentsOf, unkeptOf } from './contents.ts';
import { KeptRevisions } from './kept.ts';
import { pushedFiles } from './pushed.ts';

/** Published when a revision is kept that somebody may make active: {tenant, revision}. */
export const keptChannel = channel('mandate:policy.kept');

export interface ReleasesOptions extends CandidateParts {
  readonly tenants: Pick<Tenants, 'find'>;
  readonly policies: Policies;
  readonly store: RevisionStore;
  readonly administration: Pick<Administration, 'keepRevision' | 'keepDraft' | 'validateRevision'>;
  readonly clock: Clock;
  /** Hears of each tenant whose policy was made active, also where it is the one that was. */
  readonly activated?: ((tenant: Tenant) => void) | undefined;
}

/** How many pushes are compiled and tested at once; each is some processes. */
const MAX_PUSHING = 4;

/** Who makes something active, and on what condition. */
interface Release {
  readonly caller: string;
  /** Who brought it, where that is another one. */
  readonly author?: string | undefined;
  readonly message: string;
  /** What has to be active until then. */
  readonly expected?: string | undefined;
  /** The digest of the folder that it is taken from. */
  readonly folder?: string | undefined;
  /** Left out: whoever is served. */
  readonly isServed?: (() => boolean) | undefined;
}

/** Who brings what stands somewhere. */
interface Taking {
  readonly caller: string;
  readonly isServed: () => boolean;
}

export interface Push {
  readonly files: readonly SourceFile[];
  readonly message: string;
  /** What the author started from; empty: whatever is active now. */
  readonly parent: string;
  readonly activate: boolean;
  /** Whether it is kept without its tests being run: then it is a draft. */
  readonly draft: boolean;
}

/**
 * The revisions of tenants: kept with all that they were made from, and made active one at a time. Nothing becomes active
 * that does not compile, cannot be proven to run, or fails a test.
 */
export class Releases {
  readonly kept: KeptRevisions;
  readonly #options: ReleasesOptions;
  /** What becomes active of a tenant does so one after the other. */
  readonly #turns = new Turns<Tenant['id']>();
  #pushing = 0;

  constructor(options: ReleasesOptions) {
    this.#options = options;
    this.kept = new KeptRevisions(options);
  }

  /**
   * Takes what stands in the tenant's folder, or at the source that it is pulled from, unless it did when the folder was taken last: then what became active since
   * stays. `isAsked`: somebody wants just that. Answers whether the revision changed. What cannot be taken throws, and what
   * was active goes on, also over a restart.
   */
  take(
    tenant: Tenant,
    files: Pick<TenantFiles, 'files' | 'faults'>,
    { caller, isAsked, isServed, message = '' }: Taking & { isAsked: boolean; message?: string },
  ): Promise<boolean> {
    const { store, policies } = this.#options;
    return this.#turns.run(tenant.id, async () => {
      const kept = store.policy(tenant.no);
      const active = kept.active === '' ? undefined : store.find(tenant.no, kept.active);
      try {
        const sources = await sourcesOf(files, tenant.manifest);
        const named = contentsOf(sources, tenant.manifest.actions);
        const release = { caller, message, folder: named.digest, isServed };
        if (active && active.digest !== named.digest && kept.folder === named.digest && !isAsked)
          return await this.#resume(tenant, active, { caller, message: '', isServed });
        const isTested = active?.digest === named.digest;
        // Another compiler than then makes another revision of it, which was tested all the same.
        const tests = isTested ? (JSON.parse(active.tests) as TestResult) : undefined;
        const candidate = await testedCandidate(this.#options, tenant, sources, named, tests);
        if (!active || isTested || !tenant.manifest.policy.four_eyes)
          return await this.#activate(tenant, candidate, release);
        await this.#keep(tenant, candidate, release);
        return await this.#resume(tenant, active, { caller, message: '', isServed });
      } catch (error) {
        if (active && policies.of(tenant).revision === '')
          await this.#resume(tenant, active, { caller, message: '', isServed });
        throw error;
      }
    });
  }

  /** What was active before goes on, where the policy comes from elsewhere than the folder. */
  goOn(tenant: Tenant, { caller, isServed }: Taking): Promise<boolean> {
    return this.#turns.run(tenant.id, async () => {
      const { store } = this.#options;
      const { active } = store.policy(tenant.no);
      const row = active === '' ? undefined : store.find(tenant.no, active);
      return row ? this.#resume(tenant, row, { caller, message: '', isServed }) : false;
    });
  }

  /** Whether files would make a revision of a tenant with this manifest. Throws `policy_invalid` with file and line. */
  async check(files: TenantFiles, manifest: Manifest): Promise<void> {
    const { compiler, gate, allowance } = this.#options;
    await this.#pushingOne(async () => {
      const sources = await sourcesOf(files, manifest);
      const bundle = await compiler.compile(sources);
      const limits = limitsFor(manifest, allowance);
      prove(bundle, limits);
      await gate.pass(sources, { limits, principals: manifest.principals, covered: false });
    });
  }

  /**
   * Keeps a revision made of these files, and makes it active if that is wanted. Throws `policy_invalid` with file and
   * line, `conflict` where another is active than its author started from, `permission_denied` for want of four eyes.
   */
  async push(
    tenant: Tenant,
    caller: string,
    { files, message, parent, activate, draft }: Push,
  ): Promise<RevisionRow> {
    const { store } = this.#options;
    const from = store.policy(tenant.no).active;
    if (parent !== '' && parent !== from) throw conflict(from);
    if (activate && tenant.manifest.policy.four_eyes) throw fourEyes();
    return this.#pushingOne(() =>
      draft
        ? this.#drafted(tenant, files, caller, message)
        : this.#pushed(tenant, { files, activate }, { caller, message, expected: from }),
    );
  }

  async #pushingOne<T>(work: () => Promise<T>): Promise<T> {
    if (this.#pushing >= MAX_PUSHING)
      throw new ServiceError('resource_exhausted', `${MAX_PUSHING} pushes are looked at already`, {
        retryAfterMs: 2_000,
      });
    this.#pushing += 1;
    try {
      return await work();
    } finally {
      this.#pushing -= 1;
    }
  }

  async #pushed(
    tenant: Tenant,
    { files, activate }: Pick<Push, 'files' | 'activate'>,
    release: Release,
  ): Promise<RevisionRow> {
    const sources = await sourcesOf({ files: pushedFiles(files), faults: [] }, tenant.manifest);
    const candidate = await testedCandidate(
      this.#options,
      tenant,
      sources,
      contentsOf(sources, tenant.manifest.actions),
      undefined,
    );
    return this.#turns.run(tenant.id, async () => {
      if (activate) await this.#activate(tenant, candidate, release);
      else await this.#keep(tenant, candidate, release);
      return this.kept.find(tenant, candidate.bundle.revision);
    });
  }

  async #drafted(
    tenant: Tenant,
    files: readonly SourceFile[],
    caller: string,
    message: string,
  ): Promise<RevisionRow> {
    const { store, administration } = this.#options;
    const sources = await sourcesOf({ files: pushedFiles(files), faults: [] }, tenant.manifest);
    const candidate = await untestedCandidate(this.#options, tenant, sources);
    const { revision } = candidate.bundle;
    return this.#turns.run(tenant.id, async () => {
      if (!store.find(tenant.no, revision)) {
        const row = this.#rowOf(tenant, candidate, { caller, message });
        const kept = { row, files: unkeptOf(sources, (digest) => store.hasFile(tenant.no, digest)) };
        await administration.keepDraft(tenant, kept, { caller, message });
      }
      return this.kept.find(tenant, revision);
    });
  }

  /**
   * Runs the tests of a draft, which is one no more where they pass; another compiler than then makes another revision of
   * it. What is no draft is answered as it is. Throws `not_found`, and `policy_invalid` with file and line.
   */
  validate(tenant: Tenant, caller: string, revision: string): Promise<RevisionRow> {
    return this.#pushingOne(async () => {
      const row = this.kept.find(tenant, revision);
      if (row.state !== 'draft') return row;
      const sources = await this.kept.sourcesIn(tenant, row);
      const { contents, digest } = row;
      const candidate = await testedCandidate(
        this.#options,
        tenant,
        sources,
        { contents, digest },
        undefined,
      );
      const made = candidate.bundle.revision;
      return this.#turns.run(tenant.id, async () => {
        if (made !== revision)
          await this.#keep(tenant, candidate, {
            caller,
            author: row.author,
            message: `${revision}, made anew`,
          });
        else {
          const tests = JSON.stringify(candidate.tests ?? {});
          await this.#options.administration.validateRevision(tenant, caller, revision, tests);
        }
        return this.kept.find(tenant, made);
      });
    });
  }

  /**
   * Makes a kept revision active again, or for the first time. `expected`: what is active now, empty for whatever is.
   * Throws `not_found`, `conflict`, `permission_denied`, and `policy_invalid` for a draft.
   */
  activate(tenant: Tenant, caller: string, revision: string, expected: string): Promise<RevisionRow> {
    return this.#turns.run(tenant.id, async () => {
      const row = this.kept.find(tenant, revision);
      if (row.state === 'draft') throw isDraft(revision);
      if (tenant.manifest.policy.four_eyes && row.author === caller && row.activatedAt === null)
        throw fourEyes();
      await this.#resume(tenant, row, { caller, message: '', expected: expected || undefined });
      return this.kept.find(tenant, this.#options.store.policy(tenant.no).active);
    });
  }

  /** Makes active what was before. Throws `not_found` where nothing was. */
  rollback(tenant: Tenant, caller: string, expected: string): Promise<RevisionRow> {
    const before = this.#options.store.superseded(tenant.no);
    if (!before) throw new ServiceError('not_found', 'no revision was active before');
    return this.activate(tenant, caller, before.revision, expected);
  }

  /** Brings what decides into line with the store, where another server has changed that. Throws `policy_invalid`. */
  follow(tenant: Tenant): Promise<void> {
    return this.#turns.run(tenant.id, async () => {
      const { store, policies, compiler, tenants, activated } = this.#options;
      const { active } = store.policy(tenant.no);
      const row = active === '' ? undefined : store.find(tenant.no, active);
      if (!row) return;
      const sources = await this.kept.sourcesIn(tenant, row);
      const bundle = await compiler.compile(sources);
      policies.prove(tenant, bundle);
      // It may have gone while it was compiled.
      const served = tenants.find(tenant.id);
      if (!served) return policies.discard(bundle);
      policies.activate(served, bundle);
      activated?.(served);
    });
  }

  /** What was tested when it was kept. Another compiler than then makes another revision of it, which is kept too. */
  async #resume(tenant: Tenant, row: RevisionRow, release: Release): Promise<boolean> {
    const { compiler } = this.#options;
    const { contents, digest } = row;
    const sources = await this.kept.sourcesIn(tenant, row);
    const bundle = await compiler.compile(sources);
    const made = bundle.revision === row.revision ? row.message : `${row.revision}, made anew`;
    const tests = JSON.parse(row.tests) as TestResult;
    return this.#activate(
      tenant,
      { bundle, sources, named: { contents, digest }, tests },
      { ...release, message: made },
    );
  }

  /** What decides was kept and recorded before: a revision whose activation cannot be recorded does not decide. */
  async #activate(tenant: Tenant, candidate: Candidate, release: Release): Promise<boolean> {
    const { policies, store, clock } = this.#options;
    const { bundle } = candidate;
    const {
      expected,
      folder,
      isServed = () => this.#options.tenants.find(tenant.id) !== undefined,
    } = release;
    if (!isServed()) return false;
    const before = store.policy(tenant.no);
    const isNew = policies.prove(tenant, bundle);
    if (isNew || before.active !== bundle.revision || (folder ?? before.folder) !== before.folder) {
      const active = { revision: bundle.revision, expected, at: clock() };
      await this.#write(tenant, candidate, release, active, isNew).catch((error: unknown) => {
        if (isNew) policies.discard(bundle);
        throw error;
      });
    }
    if (!isServed()) return false;
    const changed = policies.activate(tenant, bundle);
    this.#options.activated?.(tenant);
    return changed;
  }

  async #keep(tenant: Tenant, candidate: Candidate, release: Release): Promise<void> {
    const { policies, allowance } = this.#options;
    // Shown to run now, so that whoever makes it active finds nothing new.
    if (policies.of(tenant).revision !== candidate.bundle.revision)
      prove(candidate.bundle, limitsFor(tenant.manifest, allowance));
    await this.#write(tenant, candidate, release, undefined, true);
    if (keptChannel.hasSubscribers)
      keptChannel.publish({ tenant: tenant.id, revision: candidate.bundle.revision });
  }

  async #write(
    tenant: Tenant,
    candidate: Candidate,
    { caller, author, message, folder }: Release,
    active: Activation | undefined,
    isRecorded: boolean,
  ): Promise<void> {
    const { store, administration } = this.#options;
    const row = this.#rowOf(tenant, candidate, { caller: author ?? caller, message });
    const known = store.find(tenant.no, row.revision);
    const files = known ? [] : unkeptOf(candidate.sources, (digest) => store.hasFile(tenant.no, digest));
    // A draft is validated by the way.
    const kept = known && known.state !== 'draft' ? undefined : { row, files };
    const done = await administration.keepRevision(
      tenant,
      { kept, active, folder },
      { caller, message, isRecorded },
    );
    if (!done) throw conflict(store.policy(tenant.no).active);
  }

  #rowOf(
    tenant: Tenant,
    candidate: Candidate,
    { caller, message }: Pick<Release, 'caller' | 'message'>,
  ): NewRevision {
    const { store, clock } = this.#options;
    const { active: parent } = store.policy(tenant.no);
    return rowOf(candidate, { parent, author: caller, message, madeAt: clock() });
  }
}

const conflict = (active: string): ServiceError =>
  new ServiceError('conflict', `another revision is active by now: ${active || 'none'}`);

export const isDraft = (revision: string): ServiceError =>
  new ServiceError(
    'policy_invalid',
    `${revision} is a draft, as its tests were not run: "mandate policy validate" runs them`,
  );

export const fourEyes = (): ServiceError =>
  new ServiceError('permission_denied', 'the tenant asks for four eyes: somebody else has to activate it');
