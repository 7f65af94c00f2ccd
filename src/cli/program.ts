import { readFileSync } from 'node:fs';
import path from 'node:path';
import { Command, CommanderError, Option } from 'commander';
import { describe, ServiceError } from '../errors.ts';
import { auditCommands } from './audit/audit.ts';
import { approvalCommands } from './authority/approval.ts';
import { grantCommands } from './authority/grant.ts';
import { keyCommands } from './authority/key.ts';
import { killCommands, restoreCommands } from './authority/kill.ts';
import { meterCommands } from './authority/meter.ts';
import { taskCommands } from './authority/task.ts';
import { checkCommand } from './check.ts';
import { credentialCommands } from './credential.ts';
import { planCommand } from './plan.ts';
import { policyCommands } from './policy/policy.ts';
import { issuerCommands } from './principal/issuer.ts';
import { principalCommands } from './principal/principal.ts';
import { serveCommand } from './serve.ts';
import { storeCommands } from './store.ts';
import { tenantCommands } from './tenant.ts';
import { explainEverywhere } from './terminal/help.ts';
import { ExitCode, warn } from './terminal/output.ts';
import { wholeNumber } from './terminal/values.ts';
import { tokenCommands } from './token.ts';

const packageFile = path.join(
  import.meta.dirname,
  import.meta.filename.endsWith('.ts') ? '../..' : '../../..',
  'package.json',
);
const { version } = JSON.parse(readFileSync(packageFile, 'utf8')) as { version: string };

/** Runs one command; `process.exitCode` says how it ended. */
export async function run(args: readonly string[]): Promise<void> {
  const program = new Command('mandate')
    .description('Policy decision point and agent delegation authority.')
    .version(version)
    .option('--json', 'print JSON instead of tables')
    .addOption(
      new Option('--data <url>', 'the data plane to ask')
        .env('MANDATE_DATA_URL')
        .default('http://127.0.0.1:7400'),
    )
    .addOption(
      new Option('--admin <url>', 'the admin plane to ask')
        .env('MANDATE_ADMIN_URL')
        .default('http://127.0.0.1:7401'),
    )
    .addOption(
      new Option(
        '--credential <secret>',
        'the caller credential; other users of the machine see an option, not the environment',
      ).env('MANDATE_CREDENTIAL'),
    )
    .option(
      '--timeout <seconds>',
      'how long to wait for an answer; audit tail waits as long as it takes',
      wholeNumber(1, 3_600),
      10,
    );

  for (const command of [
    serveCommand(),
    checkCommand(),
    planCommand(),
    tokenCommands(),
    grantCommands(),
    approvalCommands(),
    killCommands(),
    taskCommands(),
    meterCommands(),
    restoreCommands(),
    keyCommands(),
    policyCommands(),
    auditCommands(),
    tenantCommands(),
    principalCommands(),
    issuerCommands(),
    storeCommands(),
    credentialCommands(),
  ])
    program.addCommand(command);
  explainEverywhere(program);
  try {
    await program.parseAsync(args, { from: 'user' });
  } catch (error) {
    if (error instanceof CommanderError)
      process.exitCode = error.exitCode === 0 ? ExitCode.allow : ExitCode.error;
    else {
      warn(`mandate: ${error instanceof ServiceError ? `${error.code}: ` : ''}${describe(error)}`);
      process.exitCode = ExitCode.error;
    }
  }
}
