import type { TenantId } from '../ids.ts';
import { type ApprovalCommands, prepareApprovalCommands } from './approvals/commands.ts';
import { type ChangeCommands, ChangeLog, prepareChanges } from './changes/commands.ts';
import type { Connection } from './database.ts';
import { type GrantCommands, prepareGrantCommands, prepareGrantEnder } from './granting/commands.ts';
import { type IssuerCommands, prepareIssuers } from './issuers.ts';
import { type KeyCommands, prepareKeyCommands } from './keys.ts';
import { type LeaseCommands, prepareLeases } from './leases.ts';
import type { LogAppender } from './log/appender.ts';
import { type LogCommands, prepareLogCommands } from './log/commands.ts';
import { type MemberKeyCommands, prepareMemberKeyCommands } from './member-keys.ts';
import { type OnceCommands, prepareOnce } from './once.ts';
import { type PrincipalCommands, preparePrincipalCommands } from './principals/commands.ts';
import { prepareUses, type UseCommands } from './principals/uses.ts';
import { type PutTenantCommands, preparePutTenants } from './put-tenants.ts';
import { prepareReceived, type ReceivedCommands } from './received/commands.ts';
import { prepareRevisions, type RevisionCommands } from './revisions/commands.ts';
import { checkTenantNo, type TenantNo } from './rows.ts';
import { prepareSitting, type SittingCommands } from './sitting.ts';
import { prepareTenantKeyCommands, type TenantKeyCommands } from './tenant-keys.ts';
import { prepareUsage, type UsageCommands } from './usage.ts';
import { prepareVolumeCommands, type VolumeCommands } from './volume/commands.ts';

/**
 * Every change of state that the store knows, run inside the writer's transaction. A command answers
 * `undefined` when its condition no longer holds; then its record is not appended either.
 */
export interface Commands
  extends LogCommands,
    VolumeCommands,
    MemberKeyCommands,
    GrantCommands,
    ApprovalCommands,
    KeyCommands,
    TenantKeyCommands,
    SittingCommands,
    PrincipalCommands,
    UseCommands,
    OnceCommands,
    IssuerCommands,
    RevisionCommands,
    PutTenantCommands,
    UsageCommands,
    LeaseCommands,
    ChangeCommands,
    ReceivedCommands {
  /** Makes the tenant if it is new. */
  readonly putTenant: (args: { id: TenantId }) => { no: TenantNo; manifestHash: string };
}

export type CommandName = keyof Commands;

/** `log` is what the records of the same transactions are appended by, `changes` what their changes are noted in. */
export function prepareCommands(
  db: Connection,
  log: LogAppender,
  changes: ChangeLog = new ChangeLog(db),
): Commands {
  const tenantByName = db.prepare<[string], { no: number; manifest_hash: string }>(
    'SELECT no, manifest_hash FROM tenants WHERE id = ?',
  );
  const insertTenant = db.prepare('INSERT INTO tenants (id) VALUES (?)');
  const grants = prepareGrantCommands(db);
  const usage = prepareUsage(db);
  const commands: Commands = {
    ...prepareLogCommands(db, log),
    ...prepareVolumeCommands(db, log),
    ...prepareMemberKeyCommands(db),
    ...prepareKeyCommands(db),
    ...prepareTenantKeyCommands(db),
    ...prepareSitting(db),
    ...grants,
    ...prepareApprovalCommands(db, { ...grants, ...usage }),
    ...preparePrincipalCommands(db, prepareGrantEnder(db)),
    ...prepareUses(db),
    ...prepareOnce(db),
    ...prepareIssuers(db),
    ...prepareRevisions(db),
    ...preparePutTenants(db),
    ...usage,
    ...prepareLeases(db, usage),
    ...prepareReceived(db, log),
    ...prepareChanges(db, changes, () => commands),
    putTenant: ({ id }) => {
      const known = tenantByName.get(id);
      if (known) return { no: checkTenantNo(known.no), manifestHash: known.manifest_hash };
      return { no: checkTenantNo(Number(insertTenant.run(id).lastInsertRowid)), manifestHash: '' };
    },
  };
  return commands;
}
