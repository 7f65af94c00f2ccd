import type { Connection } from '../database.ts';
import { RECEIVED, recordId, SET_ASIDE, type TenantNo } from '../rows.ts';
import { decodeArgs } from './body.ts';
import { type Change, changeBody, type Position } from './commands.ts';

export interface ChangeStore {
  /** Where the tenant's control state is. */
  at(no: TenantNo): Position;
  /**
   * The changes after a version, in order, as many as take so many bytes, one at least. Undefined where they are not kept
   * any more, or that version has not been.
   */
  after(no: TenantNo, version: number, maxBytes: number): Change[] | undefined;
  /** Whether somebody who is at this position has had the same changes as this store. False too where nobody can tell. */
  isSame(no: TenantNo, position: Position): boolean;
  /** Whether a change is the one that is kept here under its version; true too for one that is kept no more. */
  isOurs(no: TenantNo, change: Change): boolean;
  /** tenant.yaml as it was applied last. */
  manifest(no: TenantNo): string | undefined;
  /** Every tenant that the store has, but for logs that were set aside or are another server's. */
  tenants(): { readonly no: TenantNo; readonly id: string }[];
}

export function changeStore(db: Connection): ChangeStore {
  const at = db.prepare<[number], Position>('SELECT version, chain FROM versions WHERE tenant_no = ?');
  const list = db.prepare<[number, number], { id: number; name: string; body: string; chain: Uint8Array }>(
    'SELECT id, name, body, chain FROM changes WHERE id >= ? AND id <= ? ORDER BY id',
  );
  const chain = db.prepare<[number], Uint8Array>('SELECT chain FROM changes WHERE id = ?').pluck();
  const one = db.prepare<[number], { name: string; body: string }>(
    'SELECT name, body FROM changes WHERE id = ?',
  );
  const manifest = db.prepare<[number], string>('SELECT body FROM manifests WHERE tenant_no = ?').pluck();
  const tenants = db.prepare<[], { no: TenantNo; id: string }>(
    `SELECT no, id FROM tenants WHERE instr(id, '${SET_ASIDE}') = 0 AND instr(id, '${RECEIVED}') = 0 ORDER BY no`,
  );
  const find = (no: TenantNo): Position => at.get(no) ?? { version: 0, chain: new Uint8Array() };
  return {
    at: find,
    after: (no, version, maxBytes) => {
      const newest = find(no).version;
      if (version < 0 || version > newest) return undefined;
      const changes: Change[] = [];
      let bytes = 0;
      const from = recordId(no, version);
      for (const { id, name, body, chain: led } of list.iterate(from + 1, recordId(no, newest))) {
        if (id !== from + changes.length + 1) return undefined;
        changes.push({ version: version + changes.length + 1, name, body, chain: led });
        bytes += body.length;
        if (bytes >= maxBytes) break;
      }
      return changes.length === 0 && version < newest ? undefined : changes;
    },
    isSame: (no, position) => {
      const newest = find(no);
      const { version } = position;
      if (version < 0 || version > newest.version) return false;
      const ours = version === newest.version ? newest.chain : chain.get(recordId(no, version));
      return ours !== undefined && Buffer.compare(ours, position.chain) === 0;
    },
    isOurs: (no, { version, name, body }) => {
      const kept = one.get(recordId(no, version));
      return (
        kept === undefined ||
        (kept.name === name && kept.body === changeBody(name, decodeArgs(body) as object))
      );
    },
    manifest: (no) => manifest.get(no),
    tenants: () => tenants.all(),
  };
}
