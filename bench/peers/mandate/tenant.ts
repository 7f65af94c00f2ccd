import { createHash } from 'node:crypto';
import { cpSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { stringify } from 'yaml';
import type { Principal } from '../../scenario/questions.ts';

/** The credential of the enforcement point that asks. */
export const SECRET = 'mandate-bench-enforcement-point-secret-01';

export interface TenantOptions {
  readonly id: string;
  readonly principals: readonly Principal[];
  /** Rego to decide by; the scenario's if left out. */
  readonly rego?: string;
}

/** Writes a tenant's folder below `parent`, as an author would keep it. */
export function writeTenant(parent: string, { id, principals, rego }: TenantOptions): void {
  const folder = path.join(parent, id);
  mkdirSync(folder, { recursive: true });
  const caller = {
    class: 'service',
    id: 'enforcement-point',
    credentials: [{ secret_sha256: createHash('sha256').update(SECRET).digest('hex') }],
  };
  const users = principals.map((each) => ({ class: 'user', ...factsOf(each) }));
  writeFileSync(path.join(folder, 'tenant.yaml'), stringify({ id, principals: [caller, ...users] }));
  const policy = path.join(folder, 'document.rego');
  if (rego === undefined) cpSync(path.join(import.meta.dirname, 'document.rego'), policy);
  else writeFileSync(policy, rego);
}

/** What the directory knows of a principal of the scenario. */
export const factsOf = ({ id, role, department, clearance }: Principal) => ({
  id,
  roles: [role],
  properties: { department, clearance },
});
