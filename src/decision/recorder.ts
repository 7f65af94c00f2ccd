import { channel } from 'node:diagnostics_channel';
import type { MemberKey, MemberKeys } from '../audit/privacy/keys.ts';
import { masked, maskFailed, readMask } from '../audit/privacy/masking.ts';
import { sealed, type ToSeal, toSeal } from '../audit/privacy/sealing.ts';
import { buildRecord, type RecordDraft, wholeRecord } from '../audit/record.ts';
import type { Random } from '../effects.ts';
import { ServiceError } from '../errors.ts';
import type { TenantId } from '../ids.ts';
import type { RecordRow } from '../storage/rows.ts';
import type { Tenant } from '../tenancy/tenants.ts';
import type { Admission } from './admission.ts';
import type { Policy } from './decide.ts';

/** Published where a tenant's package `audit` failed, so that all was kept out that may be: MaskFailure. */
export const maskFailureChannel = channel('mandate:mask.failed');

export interface MaskFailure {
  readonly tenant: TenantId;
  readonly code: string;
}

export interface RecorderOptions {
  readonly policyOf: (tenant: Tenant) => Policy;
  /** Undefined where keys are not to be had: such tenants are decided elsewhere. */
  readonly keys: Pick<MemberKeys, 'of'> | undefined;
  readonly admission: Pick<Admission, 'spent'>;
  readonly random: Random;
}

/**
 * Makes the records of what a policy was asked: with what the tenant seals sealed, and without what its package `audit`
 * keeps out. For a tenant that has neither it is `buildRecord`.
 */
export class Recorder {
  readonly #options: RecorderOptions;

  constructor(options: RecorderOptions) {
    this.#options = options;
  }

  /** Whether records of the tenant may name parts that stand beside them: what is sealed or kept out may be in one. */
  shares(tenant: Tenant): boolean {
    return tenant.manifest.audit.sealed.length === 0 && !this.#options.policyOf(tenant).masks;
  }

  /** A promise where a key is new, until it is durable. Throws or rejects with `unavailable` or `audit_unavailable`. */
  row(tenant: Tenant, draft: RecordDraft): RecordRow | Promise<RecordRow> {
    if (this.shares(tenant)) return buildRecord(draft);
    const kept = this.#sealed(tenant, draft);
    if (!(kept instanceof Promise)) return buildRecord(this.#masked(tenant, kept));
    const row = kept.then((each) => buildRecord(this.#masked(tenant, each)));
    // Who makes many looks at it later.
    row.catch(() => undefined);
    return row;
  }

  #sealed(tenant: Tenant, draft: RecordDraft): RecordDraft | Promise<RecordDraft> {
    const { sealed: declared } = tenant.manifest.audit;
    if (declared.length === 0) return draft;
    const input = JSON.parse(draft.input) as object;
    const found = toSeal(input, declared);
    if (found.length === 0) return draft;
    const keys = found.map((each) => this.#keyOf(tenant, each));
    const withKeys = (all: readonly (MemberKey | undefined)[]): RecordDraft =>
      sealed(draft, tenant.id, input, found, all, this.#options.random);
    const atHand = keys.filter((key): key is MemberKey | undefined => !(key instanceof Promise));
    return atHand.length === keys.length
      ? withKeys(atHand)
      : Promise.all(keys.map((key) => Promise.resolve(key))).then(withKeys);
  }

  #keyOf(tenant: Tenant, { about }: ToSeal): MemberKey | Promise<MemberKey> | undefined {
    const { keys } = this.#options;
    if (!keys)
      throw new ServiceError('internal', 'a tenant with sealed members is decided where its keys are');
    return about && keys.of(tenant, about);
  }

  /** What the package fails at is kept out whole: a record is never lost by it, and nothing is told by mistake. */
  #masked(tenant: Tenant, draft: RecordDraft): RecordDraft {
    const policy = this.#options.policyOf(tenant);
    if (!policy.masks) return draft;
    const context = { nowMs: draft.time, seed: draft.decisionId };
    try {
      const { result, cost, failure } = policy.evaluate('mandate/audit', wholeRecord(draft), context);
      this.#options.admission.spent(tenant.id, cost);
      if (failure) return unmasked(tenant, draft, failure.code);
      const mask = readMask(result);
      return mask ? masked(draft, mask) : unmasked(tenant, draft, 'policy_failed');
    } catch (error) {
      // Slowed down, for instance: what was decided before is recorded all the same.
      if (error instanceof ServiceError) return unmasked(tenant, draft, error.code);
      throw error;
    }
  }
}

/** Nobody can say what was to be kept out. */
function unmasked({ id }: Tenant, draft: RecordDraft, code: string): RecordDraft {
  maskFailureChannel.publish({ tenant: id, code } satisfies MaskFailure);
  return maskFailed(draft, code);
}
