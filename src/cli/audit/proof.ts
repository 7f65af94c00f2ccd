import { writeFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { Command } from 'commander';
import { ServiceError } from '../../errors.ts';
import { AuditService } from '../../gen/mandate/v1/audit_pb.ts';
import { clientOf } from '../client.ts';
import { type GlobalOptions, globalsOf, print, printJson } from '../terminal/output.ts';
import { NODE } from './lines.ts';

/** What a log is proved by, asked of a running server. */

export const keyCommand = (): Command =>
  new Command('key')
    .description(
      "print the verifier key of a tenant's log: what whoever verifies it needs, by a way they trust",
    )
    .requiredOption('-t, --tenant <id>', 'the tenant')
    .option('--node <name>', NODE)
    .option('--ml-dsa', "that of the log's second signature, of ML-DSA-44")
    .addHelpText('after', '\nExample:\n  $ mandate audit key -t acme > acme.vkey\n')
    .action(async ({ tenant, node = '', mlDsa }: LogOptions & { mlDsa?: boolean }, command: Command) => {
      const globals = globalsOf(command);
      const log = await clientOf(AuditService, 'admin', globals).describeLog({ tenant, node });
      const key = mlDsa ? log.mlDsaKey : log.key;
      if (key === undefined)
        throw new ServiceError(
          'not_found',
          'the log has no key of ML-DSA-44; ml_dsa_checkpoints in the configuration makes one',
        );
      if (globals.json) printJson({ origin: log.origin, key });
      else print(key);
    });

export const checkpointCommand = (): Command =>
  new Command('checkpoint')
    .description(
      "print what a tenant's log states of itself now, signed: kept elsewhere, it proves that nothing before it was changed",
    )
    .requiredOption('-t, --tenant <id>', 'the tenant')
    .option('--node <name>', NODE)
    .addHelpText('after', '\nExample:\n  $ mandate audit checkpoint -t acme > acme.checkpoint\n')
    .action(async ({ tenant, node = '' }: LogOptions, command: Command) => {
      const globals = globalsOf(command);
      const { checkpoint } = await clientOf(AuditService, 'admin', globals).describeLog({ tenant, node });
      if (checkpoint === '')
        throw new ServiceError('not_found', 'the log has no checkpoint yet; the first record makes one');
      if (globals.json) printJson({ checkpoint });
      else process.stdout.write(checkpoint);
    });

interface LogOptions {
  readonly tenant: string;
  readonly node?: string;
}

interface ReceiptOptions extends LogOptions {
  readonly output?: string;
}

/** How often it is asked for one that the next checkpoint will cover. */
const TRIES = 10;

export const receiptCommand = (): Command =>
  new Command('receipt')
    .description('write one file that proves a record to whoever has the key of its log')
    .argument('<record>', 'the id of a decision, or the index of a record')
    .requiredOption('-t, --tenant <id>', 'the tenant')
    .option('--node <name>', NODE)
    .option('-o, --output <file>', 'where to; left out: print it')
    .addHelpText('after', '\nExample:\n  $ mandate audit receipt 41 -t acme -o 41.tlog-proof\n')
    .action(async (record: string, { tenant, node = '', output }: ReceiptOptions, command: Command) => {
      const globals = globalsOf(command);
      const { index, proof } = await receiptOf(globals, { tenant, node }, record);
      if (output !== undefined) {
        // A record is for its tenant's eyes.
        writeFileSync(output, proof, { mode: 0o600 });
        if (globals.json) printJson({ index, file: output });
        else print(`record ${index} is proved by ${output}`);
      } else if (globals.json) printJson({ index, proof });
      else process.stdout.write(proof);
    });

async function receiptOf(
  globals: GlobalOptions,
  log: { readonly tenant: string; readonly node: string },
  record: string,
): Promise<{ index: bigint; proof: string }> {
  const client = clientOf(AuditService, 'admin', globals);
  const named = /^[0-9]{1,15}$/.test(record)
    ? { case: 'index' as const, value: BigInt(record) }
    : { case: 'decisionId' as const, value: record };
  for (let left = TRIES; ; left -= 1)
    try {
      return await client.receipt({ ...log, record: named });
    } catch (error) {
      const isSoon =
        error instanceof ServiceError && error.message.includes('the next checkpoint will cover');
      if (!isSoon || left === 0) throw error;
      await delay(300);
    }
}
