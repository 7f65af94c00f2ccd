import { timestampDate } from '@bufbuild/protobuf/wkt';
import { Command } from 'commander';
import { AuditService, type NodeLog } from '../../gen/mandate/v1/audit_pb.ts';
import { clientOf } from '../client.ts';
import { ExitCode, globalsOf, print, printJson, printTable } from '../terminal/output.ts';

interface Options {
  readonly tenant: string;
}

export const logsCommand = (): Command =>
  new Command('logs')
    .description(
      "say which servers' logs of a tenant are here, how much of each, and what was refused of them",
    )
    .requiredOption('-t, --tenant <id>', 'the tenant')
    .option('--keys', 'print their verifier keys alone, a line each')
    .addHelpText(
      'after',
      `
It exits with 1 where something of a log was refused last.

Examples:
  $ mandate audit logs -t acme
  $ mandate audit logs -t acme --keys > acme.vkeys
`,
    )
    .action(async ({ tenant, keys }: Options & { keys?: boolean }, command: Command) => {
      const globals = globalsOf(command);
      const { logs } = await clientOf(AuditService, 'admin', globals).listLogs({ tenant });
      if (logs.some(isRefused)) process.exitCode = ExitCode.deny;
      if (globals.json) return printJson({ logs: logs.map(asJson) });
      if (keys) return print(logs.map(({ key }) => key).join('\n'));
      printTable(['NODE', 'KEPT', 'STATED', 'HEARD', 'SENDER', 'REFUSED'], logs.map(row));
    });

export const renewCommand = (): Command =>
  new Command('renew')
    .description('let a server that lost its disk begin a new log under its name; the one that is here stays')
    .argument('<node>', 'what the server is called')
    .requiredOption('-t, --tenant <id>', 'the tenant')
    .addHelpText('after', '\nExample:\n  $ mandate audit renew docs-api-7f9c -t acme\n')
    .action(async (node: string, { tenant }: Options, command: Command) => {
      const globals = globalsOf(command);
      const { node: name } = await clientOf(AuditService, 'admin', globals).renewLog({ tenant, node });
      if (globals.json) printJson({ node: name });
      else print(`what is here of ${node} is called ${name} from now on`);
    });

/** What fitted since is newer than what did not. */
const isRefused = ({ refusal, refused, heard }: NodeLog): boolean =>
  refusal !== '' && (!refused || !heard || timestampDate(refused) >= timestampDate(heard));

const timeOf = (time: NodeLog['heard']): string | undefined => time && timestampDate(time).toISOString();

const row = (log: NodeLog): string[] => [
  log.node,
  String(log.kept),
  String(log.stated),
  timeOf(log.heard) ?? '-',
  log.sender || '-',
  log.refusal === '' ? '' : `${timeOf(log.refused)}: ${log.refusal}`,
];

const asJson = (log: NodeLog): object => ({
  node: log.node,
  own: log.own,
  origin: log.origin,
  key: log.key,
  kept: log.kept,
  stated: log.stated,
  heard: timeOf(log.heard) ?? null,
  sender: log.sender,
  refusal: log.refusal === '' ? null : { at: timeOf(log.refused), why: log.refusal },
});
