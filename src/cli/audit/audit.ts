import { Command } from 'commander';
import { eraseCommand } from './erase.ts';
import { explainCommand } from './explain.ts';
import { exportCommand } from './export/export.ts';
import { logsCommand, renewCommand } from './logs.ts';
import { checkpointCommand, keyCommand, receiptCommand } from './proof.ts';
import { queryCommand } from './query.ts';
import { reportCommand } from './report.ts';
import { tailCommand } from './tail.ts';
import { verifyCommand } from './verify.ts';
import { archiveCommand, holdCommand, releaseCommand, volumesCommand } from './volumes.ts';
import { witnessCommand } from './witness.ts';

export function auditCommands(): Command {
  return new Command('audit')
    .description("read a tenant's log, and prove what stands in it")
    .addCommand(queryCommand())
    .addCommand(tailCommand())
    .addCommand(explainCommand())
    .addCommand(logsCommand())
    .addCommand(renewCommand())
    .addCommand(keyCommand())
    .addCommand(checkpointCommand())
    .addCommand(receiptCommand())
    .addCommand(verifyCommand())
    .addCommand(exportCommand())
    .addCommand(reportCommand())
    .addCommand(eraseCommand())
    .addCommand(witnessCommand())
    .addCommand(volumesCommand())
    .addCommand(archiveCommand())
    .addCommand(holdCommand())
    .addCommand(releaseCommand());
}
