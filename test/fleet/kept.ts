import { expect } from 'vitest';
import type { Overrides } from '../../src/config.ts';
import { aliceReads, check, connect, request } from '../e2e/requests.ts';
import { eventually, type Running, startServer } from '../e2e/server.ts';
import { authorityOverrides, isReady, startSidecar } from './fleet.ts';
import { Line } from './line.ts';

/** A real authority that keeps its sidecars' records, a line to it that can be cut, and what it says of them. */

export const BASE = 'http://pdp.acme.test';

export interface LogJson {
  node: string;
  own?: boolean;
  origin: string;
  key: string;
  kept?: string;
  stated?: string;
  sender?: string;
  refusal?: string;
}

export interface RecordJson {
  node: string;
  index?: string;
  time: string;
  decisionId: string;
  kind: string;
  action: string;
  body: string;
}

export interface PageJson {
  records?: RecordJson[];
  nextPageToken?: string;
}

export class Kept implements AsyncDisposable {
  readonly authority: Running;
  readonly line: Line;

  private constructor(authority: Running, line: Line) {
    this.authority = authority;
    this.line = line;
  }

  static async open(): Promise<Kept> {
    const authority = await startServer({ overrides: { ...authorityOverrides, base_url: BASE } });
    return new Kept(authority, await Line.to(authority.admin));
  }

  async sidecar(
    node: string,
    more: Omit<Overrides, 'node'> & { folder?: string } = {},
    secret?: string,
  ): Promise<Running> {
    const place = { data: this.authority.data, admin: this.line.url };
    const sidecar = await startSidecar(place, { node, base_url: BASE, ...more }, secret);
    await isReady(sidecar);
    return sidecar;
  }

  async log(node: string, tenant = 'acme'): Promise<LogJson | undefined> {
    return (await logsAt(this.authority, tenant)).find((each) => each.node === node);
  }

  /** Waits until all of these are here; answers all decisions of the node in their order. */
  async arrived(node: string, ids: readonly string[], tenant = 'acme'): Promise<RecordJson[]> {
    const asked = { tenant, node, kind: 'decision', oldestFirst: true, pageSize: 1_000 };
    let records: RecordJson[] = [];
    await eventually(
      async () => {
        const log = await this.log(node, tenant);
        if (log) records = await queried(this.authority, asked);
        const there = new Set(idsOf(records));
        return { log, missing: ids.filter((id) => !there.has(id)).length };
      },
      ({ missing }) => missing === 0,
    );
    return records;
  }

  /** Waits until all say that the log was refused, and why. */
  refused(sidecar: Running, node: string, why: RegExp): Promise<unknown> {
    return eventually(
      async () => ({
        log: (await this.log(node))?.refusal ?? '',
        there: await problems(this.authority),
        here: await problems(sidecar),
      }),
      (said) => Object.values(said).every((each) => why.test(each)),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.line[Symbol.asyncDispose]();
    await this.authority[Symbol.asyncDispose]();
  }
}

/** Answers the ids of so many decisions. */
export async function decided(
  server: Pick<Running, 'data'>,
  count: number,
  tenant = 'acme',
): Promise<string[]> {
  const ids: string[] = [];
  for (let at = 0; at < count; at += 1) {
    const { body } = await check(server.data, { ...aliceReads, tenant });
    expect(body.decision).toBe('DECISION_ALLOW');
    ids.push(body.decisionId);
  }
  return ids;
}

export const logsAt = async (server: Pick<Running, 'admin'>, tenant = 'acme'): Promise<LogJson[]> =>
  (await connect<{ logs: LogJson[] }>(server.admin, 'AuditService/ListLogs', { tenant })).body.logs;

/** All that is found, page by page. */
export async function queried(server: Pick<Running, 'admin'>, query: object): Promise<RecordJson[]> {
  const found: RecordJson[] = [];
  let pageToken = '';
  for (let pages = 0; pages < 200; pages += 1) {
    const asked = { tenant: 'acme', ...query, pageToken };
    const { status, body } = await connect<PageJson>(server.admin, 'AuditService/Query', asked);
    expect(status, JSON.stringify(body)).toBe(200);
    found.push(...(body.records ?? []));
    pageToken = body.nextPageToken ?? '';
    if (pageToken === '') return found;
  }
  throw new Error('there is no end of pages');
}

export const idsOf = (records: readonly RecordJson[]): string[] =>
  records.map(({ decisionId }) => decisionId);

export const bodyOf = ({ body }: RecordJson): Record<string, unknown> =>
  JSON.parse(Buffer.from(body, 'base64').toString()) as Record<string, unknown>;

/** What an operator is told. */
export const problems = async (server: Pick<Running, 'admin'>): Promise<string> =>
  (await request<{ text: string }>(`${server.admin}/readyz?verbose`)).body.text;

/** The first sample of a metric. */
export async function metric(server: Pick<Running, 'admin'>, name: string): Promise<number> {
  const { body } = await request<{ text: string }>(`${server.admin}/metrics`);
  const found = body.text.split('\n').find((each) => each.startsWith(name) && !each.startsWith('#'));
  return Number(found?.split(' ').at(-1) ?? Number.NaN);
}
