import type { CommandName } from '../commands.ts';

/**
 * Whom a command concerns. `tenant`: it changes the control state of its tenant, which is the same wherever the tenant is
 * served. `authority`: it changes what only those know who grant. `node`: it is about this store, its logs and its keys.
 */
export type Reach = 'tenant' | 'authority' | 'node';

const REACH: Readonly<Record<CommandName, Reach>> = {
  insertGrant: 'tenant',
  openTask: 'tenant',
  revokeGrant: 'tenant',
  capTask: 'tenant',
  kill: 'tenant',
  restore: 'tenant',
  openApproval: 'tenant',
  settleApproval: 'tenant',
  expireApproval: 'tenant',
  useApproval: 'tenant',
  grantApproved: 'tenant',
  putManifest: 'tenant',
  putPrincipals: 'tenant',
  setStatus: 'tenant',
  retirePrincipal: 'tenant',
  putIssuer: 'tenant',
  removeIssuer: 'tenant',
  keepRevision: 'tenant',
  tryRevision: 'tenant',
  putKey: 'tenant',
  activateKey: 'tenant',
  removeKey: 'tenant',
  replaceKeys: 'tenant',
  takeOnce: 'authority',
  countUsage: 'authority',
  leaseUsage: 'authority',
  putTenantKey: 'authority',
  sealTenantKey: 'authority',
  putOlderMasters: 'node',
  putTenant: 'node',
  putUses: 'node',
  putTenantFiles: 'node',
  removeTenantFiles: 'node',
  beginSitting: 'node',
  endSitting: 'node',
  putMemberKey: 'node',
  destroyMemberKeys: 'node',
  putVolume: 'node',
  clearRuns: 'node',
  endVolume: 'node',
  logBytes: 'node',
  putHold: 'node',
  dropHold: 'node',
  applyChange: 'node',
  beginCopy: 'node',
  putCopied: 'node',
  endCopy: 'node',
  putLogKey: 'node',
  putMlDsaKey: 'node',
  closeLog: 'node',
  grownLogs: 'node',
  damagedLog: 'node',
  restartLog: 'node',
  putCheckpoint: 'node',
  putCursors: 'node',
  putCosigned: 'node',
};

export const reachOf = (name: string): Reach =>
  Object.hasOwn(REACH, name) ? REACH[name as CommandName] : 'node';
