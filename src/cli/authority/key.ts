import { timestampDate } from '@bufbuild/protobuf/wkt';
import { Command } from 'commander';
import { type Key, KeyService, KeyState } from '../../gen/mandate/v1/key_pb.ts';
import { clientOf } from '../client.ts';
import { type GlobalOptions, globalsOf, print, printJson, printTable } from '../terminal/output.ts';

export const keyCommands = (): Command =>
  new Command('key')
    .description("see and change the keys that sign a tenant's tokens")
    .addCommand(list())
    .addCommand(rotate())
    .addCommand(rotateMaster());

const list = (): Command =>
  new Command('list')
    .description('list the keys that verify now, or will')
    .requiredOption('-t, --tenant <id>', 'the tenant')
    .addHelpText('after', '\nExample:\n  $ mandate key list -t acme\n')
    .action(async ({ tenant }: { tenant: string }, command: Command) => {
      const globals = globalsOf(command);
      printKeys(globals, (await clientOf(KeyService, 'admin', globals).listKeys({ tenant })).keys);
    });

const rotate = (): Command =>
  new Command('rotate')
    .description('publish the key that is to sign next; it signs once everybody may know it')
    .requiredOption('-t, --tenant <id>', 'the tenant')
    .option(
      '--now',
      'the keys may be in wrong hands: a new one signs at once, the others and their tokens are gone',
    )
    .option('--reason <text>', 'for the record')
    .addHelpText('after', '\nExample:\n  $ mandate key rotate -t acme --now --reason INC-7\n')
    .action(async (options: { tenant: string; now?: boolean; reason?: string }, command: Command) => {
      const globals = globalsOf(command);
      const { tenant, now = false, reason = '' } = options;
      const client = clientOf(KeyService, 'admin', globals);
      printKeys(globals, (await client.rotateKey({ tenant, compromised: now, reason })).keys);
    });

const rotateMaster = (): Command =>
  new Command('rotate-master')
    .description('make another master key, and seal the key of each tenant by it, while the server serves')
    .addHelpText(
      'after',
      `
It takes the place of the file that the server reads it from: copy that anew. Where the master key is in the environment,
start the server with a new MANDATE_MASTER_KEY, and the old one as MANDATE_MASTER_KEY_PREVIOUS. With a KMS its own
rotation makes the other key; this wraps the key of each tenant by it.

Example:
  $ mandate key rotate-master
`,
    )
    .action(async (_options: unknown, command: Command) => {
      const globals = globalsOf(command);
      const { tenants, kms } = await clientOf(KeyService, 'admin', globals).rotateMasterKey({});
      if (globals.json) return printJson({ tenants, kms });
      const whose = `${tenants} tenant${tenants === 1 ? '' : 's'}`;
      if (kms === '') print(`a new master key seals the keys of ${whose}; copy its file`);
      else print(`the newest version of ${kms} wraps the keys of ${whose}`);
    });

function printKeys({ json }: GlobalOptions, keys: readonly Key[]): void {
  const shown = keys.map(asJson);
  if (json) return printJson(shown);
  printTable(
    ['KEY', 'ALGORITHM', 'STATE', 'CREATED', 'UNTIL'],
    shown.map((key) => [key.kid, key.algorithm, key.state, key.created_at, untilOf(key)]),
  );
}

const untilOf = ({ signs_from: from, kept_until: until }: ReturnType<typeof asJson>): string =>
  from === null ? (until ?? '') : `signs from ${from}`;

const STATES: readonly string[] = ['unknown', 'next', 'active', 'retiring'] satisfies Record<
  KeyState,
  string
>;

const timeOf = (time: Key['createdAt']): string | null => (time ? timestampDate(time).toISOString() : null);

const asJson = (key: Key) => ({
  kid: key.kid,
  algorithm: key.algorithm,
  state: STATES[key.state] ?? 'unknown',
  created_at: timeOf(key.createdAt) ?? '',
  signs_from: timeOf(key.signsFrom),
  kept_until: timeOf(key.keptUntil),
});
