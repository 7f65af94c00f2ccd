import type { Clock, Random } from '../effects.ts';
import type { RecordRow, TenantNo } from '../storage/rows.ts';
import type { Sitting } from '../storage/sitting.ts';
import type { Writer } from '../storage/writer.ts';
import { isoTime } from '../time.ts';
import { ownRecord } from './own.ts';

export interface Attended {
  readonly no: TenantNo;
}

/** How many records wait for the store at a time: it takes no more than so many. */
const AT_ONCE = 10_000;

export interface PresenceParts<T extends Attended> {
  readonly writer: Writer;
  /** What the server's part of each log is called, and which version of Mandate it is. */
  readonly node: string;
  readonly version: string;
  readonly tenants: Iterable<T>;
  /** What decides for a tenant now; empty if nothing does. */
  readonly revisionOf: (tenant: T) => string;
  readonly clock: Clock;
  readonly random: Random;
}

/**
 * That the server began and ended, in the log of each tenant that it serves then, and how it ended the time before. A log
 * that takes no record keeps the server from nothing: the store says itself what is wrong.
 */
export class Presence<T extends Attended = Attended> implements AsyncDisposable {
  readonly #parts: PresenceParts<T>;
  #hasBegun = false;

  constructor(parts: PresenceParts<T>) {
    this.#parts = parts;
  }

  async begin(): Promise<void> {
    const { writer, node, version, clock } = this.#parts;
    const sitting = { node, version, at: clock() };
    const before = await writer.run('beginSitting', sitting).then(
      ({ value }) => value,
      () => undefined,
    );
    this.#hasBegun = true;
    await this.#tellAll('server.start', { before: before ? told(before) : null });
  }

  /** It goes after all that makes records of what is asked, and before what states the logs. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#hasBegun) return;
    await this.#tellAll('server.stop', {});
    await this.#parts.writer.run('endSitting', { at: this.#parts.clock() }).catch(() => undefined);
  }

  async #tellAll(action: string, more: object): Promise<void> {
    const { writer, node, version, tenants, revisionOf, clock, random } = this.#parts;
    const rowOf = (tenant: T): RecordRow =>
      ownRecord(
        {
          tenantNo: tenant.no,
          kind: 'server',
          action,
          resource: { type: 'server', id: node },
          revision: revisionOf(tenant),
          detail: { version, node, ...more },
        },
        clock,
        random,
      );
    const left = [...tenants];
    while (left.length > 0)
      await Promise.allSettled(left.splice(0, AT_ONCE).map((tenant) => writer.append(rowOf(tenant))));
  }
}

/** A store that was copied while it served looks as if its server had been killed. */
const told = ({ version, node, begunAt, endedAt }: Sitting): object => ({
  version,
  node,
  began: isoTime(begunAt),
  ended: endedAt === null ? 'without a stop' : isoTime(endedAt),
});
