import type { NodeLog } from '../audit/logs.ts';
import type { MemberKeys } from '../audit/privacy/keys.ts';
import { opened } from '../audit/privacy/opening.ts';
import type { LogSource } from '../audit/query.ts';
import { ServiceError } from '../errors.ts';
import type { Compiler } from '../policy/compiler.ts';
import type { Limits } from '../policy/engine/instance.ts';
import { explainPolicy } from '../policy/explain/explain.ts';
import type { Explanation } from '../policy/explain/explanation.ts';
import type { PolicySources } from '../policy/sources.ts';
import type { Tenant } from '../tenancy/tenants.ts';
import { type Compared, compared } from './compared.ts';
import { type Recorded, recordedIn } from './recorded.ts';

/** Why a recorded answer was what it was. */
export interface ExplainedRecord {
  readonly node: string;
  readonly index: number;
  readonly record: Recorded;
  readonly compared: Compared;
  readonly explanation: Explanation;
}

interface ExplanationsOptions {
  readonly compiler: Compiler;
  /** What a revision was made from; undefined where it is not kept. */
  readonly sourcesOf: (tenant: Tenant, revision: string) => Promise<PolicySources | undefined>;
  readonly source: LogSource;
  readonly memberKeys: Pick<MemberKeys, 'find'>;
  readonly limitsOf: (tenant: Tenant) => Limits;
}

/** What another server sealed nobody opens here. */
const elsewhere = ({ node, isOwn }: NodeLog, { sealed }: Recorded): string[] =>
  isOwn || sealed.length === 0
    ? []
    : [`${node} sealed ${sealed.join(', ')} by keys that it alone has: with them it is explained there`];

/** One explanation is a dozen processes of up to five seconds: one at a time, and so many wait for their turn. */
const MOST_WAITING = 8;

/** Evaluates recorded inputs again, under the revision that decided, and tells why. Nothing that serves is touched. */
export class Explanations {
  readonly #options: ExplanationsOptions;
  #waiting = 0;
  #last: Promise<unknown> = Promise.resolve();

  constructor(options: ExplanationsOptions) {
    this.#options = options;
  }

  /**
   * Throws `not_found` for a record or a revision that is not there, `gone` for a record that was archived or removed,
   * `invalid_request` for one of no question to the policy, `resource_exhausted` while too many wait, and what
   * explainPolicy() throws.
   */
  async explain(tenant: Tenant, log: NodeLog, index: number): Promise<ExplainedRecord> {
    const record = this.#recorded(tenant, log, index);
    const sources = await this.#options.sourcesOf(tenant, record.revision);
    if (!sources)
      throw new ServiceError(
        'not_found',
        `revision_unknown: the files of ${record.revision || 'no revision'} are not kept, so its decisions cannot be explained`,
      );
    const { compared: held, explanation } = await this.#turn(() => this.#evaluated(tenant, record, sources));
    if (explanation.revision !== record.revision)
      throw new ServiceError(
        'not_found',
        `revision_unknown: ${record.revision} was made by another version of Mandate or of its compiler, which is here no more`,
      );
    const notes = [...explanation.notes, ...elsewhere(log, record)];
    return { node: log.node, index, record, compared: held, explanation: { ...explanation, notes } };
  }

  #recorded(tenant: Tenant, { no, isOwn }: NodeLog, index: number): Recorded {
    const { source, memberKeys } = this.#options;
    const [found] = source.records.range(no, index, 1);
    if (found?.index !== index) {
      if (source.records.volume(no, index))
        throw new ServiceError('gone', 'the record was archived or removed');
      throw new ServiceError('not_found', 'the log has no such record');
    }
    const clear = (isOwn && opened(memberKeys, tenant, found.body)) || found.body;
    return recordedIn(clear, (digest) => source.partOf(no, digest));
  }

  async #evaluated(
    tenant: Tenant,
    record: Recorded,
    sources: PolicySources,
  ): Promise<Pick<ExplainedRecord, 'compared' | 'explanation'>> {
    const { entryPoint, input, nowMs, decisionId: seed } = record;
    const asked = { entryPoint, input, nowMs, seed };
    const { compiler, limitsOf } = this.#options;
    const explained = await explainPolicy(compiler, sources, asked, limitsOf(tenant));
    const held = compared(record, explained);
    return { compared: held, explanation: { ...explained, notes: [...explained.notes, ...held.notes] } };
  }

  async #turn<T>(work: () => Promise<T>): Promise<T> {
    if (this.#waiting >= MOST_WAITING)
      throw new ServiceError('resource_exhausted', 'too many explanations are asked for at once', {
        retryAfterMs: 5_000,
      });
    this.#waiting += 1;
    const turn = this.#last.then(work);
    this.#last = turn.catch(() => undefined);
    try {
      return await turn;
    } finally {
      this.#waiting -= 1;
    }
  }
}
