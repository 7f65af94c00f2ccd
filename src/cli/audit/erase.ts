import { createInterface } from 'node:readline/promises';
import { Command } from 'commander';
import { ServiceError } from '../../errors.ts';
import { AuditService } from '../../gen/mandate/v1/audit_pb.ts';
import { clientOf } from '../client.ts';
import { globalsOf, print, printJson } from '../terminal/output.ts';
import { keyed } from '../terminal/values.ts';
import { visible } from '../terminal/visible.ts';

interface EraseOptions {
  readonly tenant: string;
  readonly dryRun?: boolean;
  readonly yes?: boolean;
}

export const eraseCommand = (): Command =>
  new Command('erase')
    .description('destroy the key of what is sealed about somebody: it stays in the log, and nobody reads it')
    .argument('<class:id>', 'whom it is about, as the records say it; of a resource its type and id')
    .requiredOption('-t, --tenant <id>', 'the tenant')
    .option('--dry-run', 'only say what would be destroyed')
    .option('--yes', 'without being asked on the terminal')
    .addHelpText(
      'after',
      `
Nothing brings a key back but a backup that was made before: destroy those too, or let them expire.

Examples:
  $ mandate audit erase user:ann -t acme --dry-run
  $ mandate audit erase user:ann -t acme --yes
`,
    )
    .action(async (name: string, options: EraseOptions, command: Command) => {
      const globals = globalsOf(command);
      const { tenant, dryRun = false } = options;
      const [cls, id] = keyed(name, 'whom it is about', 'class:id');
      if (!dryRun && options.yes !== true && !(await isConfirmed(name, tenant)))
        throw new ServiceError('cancelled', 'nothing was destroyed');
      const client = clientOf(AuditService, 'admin', globals);
      const principal = { class: cls, id };
      const { keys, destroyedBefore, everyServer } = await client.erase({ tenant, principal, dryRun });
      if (globals.json)
        printJson({
          principal: name,
          keys,
          destroyed_before: destroyedBefore,
          every_server: everyServer,
          dry_run: dryRun,
        });
      else print(`${name}: ${told(keys, destroyedBefore, dryRun)}${everyServer ? ELSEWHERE : ''}`);
    });

const ELSEWHERE =
  '\nthat is at this server; each other one that serves the tenant destroys its own when it comes to this change';

function told(keys: number, before: number, isDry: boolean): string {
  const count = keys === 1 ? '1 key' : `${keys} keys`;
  if (keys === 0 && before === 0) return 'no key';
  if (keys === 0) return `no key is left to destroy; ${before === 1 ? '1 was' : `${before} were`} before`;
  return isDry ? `${count} would be destroyed` : `${count} destroyed`;
}

/** Whoever runs it unattended says so. Throws `invalid_request` where nobody can be asked. */
async function isConfirmed(name: string, tenant: string): Promise<boolean> {
  if (!process.stdin.isTTY)
    throw new ServiceError('invalid_request', 'there is no terminal to ask on; --yes is to go on without');
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const asked = `destroy for good what is sealed about ${visible(name)} in ${visible(tenant)}? [y/N] `;
    return /^y(?:es)?$/i.test((await terminal.question(asked)).trim());
  } finally {
    terminal.close();
  }
}
