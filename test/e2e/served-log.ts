import path from 'node:path';
import Database from 'better-sqlite3';
import { hashesIn, stated } from './log-by-hand.ts';
import { aliceReads, check, connect } from './requests.ts';
import { bearer, eventually, type Running, secrets } from './server.ts';

/** A log as the admin plane serves it. */

export interface File {
  readonly status: number;
  readonly type: string | null;
  readonly caching: string | null;
  readonly bytes: Buffer;
}

export async function fileOf(
  server: Pick<Running, 'admin'>,
  name: string,
  { tenant = 'acme', ...init }: RequestInit & { tenant?: string } = {},
): Promise<File> {
  const response = await fetch(`${server.admin}/t/${tenant}/log/main/${name}`, init);
  return {
    status: response.status,
    type: response.headers.get('content-type'),
    caching: response.headers.get('cache-control'),
    bytes: Buffer.from(await response.arrayBuffer()),
  };
}

/** So many decisions of one commit; `defaults`: what else their requests have in common. */
export async function decide(
  server: Pick<Running, 'data'>,
  count: number,
  defaults: object = {},
): Promise<void> {
  const { subject, action, resource } = aliceReads;
  const items = Array.from({ length: count }, (_, at) => ({ resource: { ...resource, id: `d${at}` } }));
  const batch = { tenant: 'acme', subject, action, ...defaults, items };
  const { status, body } = await connect(
    server.data,
    'DecisionService/CheckBatch',
    batch,
    bearer(secrets.api),
  );
  if (status !== 200) throw new Error(JSON.stringify(body));
}

export const decideOne = async (
  server: Pick<Running, 'data'>,
): Promise<{ decisionId: string; index: number }> => {
  const { body } = await check(server.data, aliceReads, bearer(secrets.api));
  return { decisionId: body.decisionId, index: Number(body.recordIndex) };
};

/** The checkpoint as soon as it covers so many records. */
export async function checkpointOf(
  server: Pick<Running, 'admin'>,
  size: number,
  tenant = 'acme',
): Promise<string> {
  const { bytes } = await eventually(
    () => fileOf(server, 'checkpoint', { tenant }),
    (file) => file.status === 200 && stated(file.bytes.toString()).size >= size,
  );
  return bytes.toString();
}

/** Level 0 up to a size, tile by tile. */
export async function leavesOf(server: Pick<Running, 'admin'>, size: number): Promise<Buffer[]> {
  const leaves: Buffer[] = [];
  for (const name of tilesOf(0, size)) {
    const { status, bytes } = await fileOf(server, name);
    if (status !== 200) throw new Error(`${name}: ${status}`);
    leaves.push(...hashesIn(bytes));
  }
  return leaves;
}

/** The names of the tiles of a level, or of the bundles, that so many hashes make. Below 1,000 tiles. */
export const tilesOf = (level: number | 'entries', size: number): string[] =>
  Array.from({ length: Math.ceil(size / 256) }, (_, at) => {
    const width = Math.min(256, size - at * 256);
    const place = String(at).padStart(3, '0');
    return `tile/${level}/${place}${width === 256 ? '' : `.p/${width}`}`;
  });

/** The checkpoint in the store that a server left. */
export function checkpointStored(folder: string, tenant = 'acme'): string {
  const db = new Database(path.join(folder, 'data', 'mandate.db'), { readonly: true });
  try {
    const note = db.prepare<[string], string>(
      'SELECT note FROM checkpoints JOIN tenants ON tenants.no = tenant_no WHERE id = ?',
    );
    return note.pluck().get(tenant) ?? '';
  } finally {
    db.close();
  }
}
