import type { CommandName } from '../commands.ts';

/**
 * Whom a command concerns. `tenant`: it changes the control state of its tenant, which is the same wherever the tenant is
 * served. `authority`: it changes what only those know who grant. `node`: it is about this store, its logs and its keys.
 */
export type Reach = 'tenant' | 'authority' | 'node';

const REACH = {
  insertGrant: 'tenant',
  openTask: 'tenant',
  revokeGrant: 'tenant',
  capTask: 'tenant',
  kill: 'tenant',
  restore: 'tenant',
  killCredential: 'tenant',
  restoreCredential: 'tenant',
  openApproval: 'tenant',
  keepApprovalKey: 'tenant',
  settleApproval: 'tenant',
  expireApproval: 'tenant',
  useApproval: 'tenant',
  grantApproved: 'tenant',
  putManifest: 'tenant',
  retireTenant: 'tenant',
  putPrincipals: 'tenant',
  setStatus: 'tenant',
  retirePrincipal: 'tenant',
  putIssuer: 'tenant',
  removeIssuer: 'tenant',
  destroyMemberKeys: 'tenant',
  keepRevision: 'tenant',
  keepDraft: 'tenant',
  validateRevision: 'tenant',
  tryRevision: 'tenant',
  putKey: 'tenant',
  activateKey: 'tenant',
  removeKey: 'tenant',
  replaceKeys: 'tenant',
  takeOnce: 'authority',
  countUsage: 'authority',
  adjustUsage: 'authority',
  leaseUsage: 'authority',
  putTenantKey: 'authority',
  sealTenantKey: 'authority',
  putOlderMasters: 'node',
  putTenant: 'node',
  putUses: 'node',
  putTenantFiles: 'node',
  beginSitting: 'node',
  endSitting: 'node',
  putMemberKey: 'node',
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
  beginReceived: 'node',
  stateReceived: 'node',
  refuseReceived: 'node',
  reachReceived: 'node',
  renewReceived: 'node',
} as const satisfies Readonly<Record<CommandName, Reach>>;

/** The commands that others make too, who may be of another version. */
export type ChangeName = {
  [Name in CommandName]: (typeof REACH)[Name] extends 'node' ? never : Name;
}[CommandName];

export const reachOf = (name: string): Reach =>
  Object.hasOwn(REACH, name) ? REACH[name as CommandName] : 'node';

/** Whether others make it too. */
export const isChange = (name: string): name is ChangeName => reachOf(name) !== 'node';
