import { timestampDate } from '@bufbuild/protobuf/wkt';
import type { Client } from '@connectrpc/connect';
import { Command } from 'commander';
import { type Approval, ApprovalService, ApprovalState } from '../../gen/mandate/v1/approval_pb.ts';
import { clientOf } from '../client.ts';
import { globalsOf, print, printFields, printJson, printTable } from '../terminal/output.ts';
import { wholeNumber } from '../terminal/values.ts';
import { visible } from '../terminal/visible.ts';
import { nameOf } from './grant.ts';

export const approvalCommands = (): Command =>
  new Command('approval')
    .description('requests for approval: list and show them, approve and reject them')
    .addCommand(list())
    .addCommand(show())
    .addCommand(settling('approve', 'let it be done, as often and as long as the policy says', 'approved'))
    .addCommand(settling('reject', 'refuse it; what was approved is of no use any more', 'rejected'));

interface ListOptions {
  readonly tenant: string;
  readonly settled?: boolean;
  readonly limit: number;
}

const list = (): Command =>
  new Command('list')
    .description('list requests that wait to be decided, the newest first')
    .requiredOption('-t, --tenant <id>', 'the tenant')
    .option('--settled', 'also those that were decided, given up or have expired, for a week')
    .option('--limit <count>', 'at most so many', wholeNumber(1, 100_000), 100)
    .addHelpText('after', '\nExample:\n  $ mandate approval list -t acme\n')
    .action(async (options: ListOptions, command: Command) => {
      const globals = globalsOf(command);
      const { approvals, more } = await gathered(clientOf(ApprovalService, 'admin', globals), options);
      if (globals.json) return printJson({ approvals: approvals.map(asJson), more });
      printTable(
        ['REQUEST', 'STATE', 'SUBJECT', 'ACTOR', 'ACTION', 'RESOURCE', 'REASON'],
        approvals.map((each) => [
          each.id,
          wordOf(each),
          nameOf(each.subject),
          nameOf(each.actors[0]),
          each.action?.name ?? '',
          resourceOf(each),
          each.reason,
        ]),
      );
      if (more) print(`and more: --limit ${options.limit * 10}`);
    });

const MOST_OF_PAGE = 100;

/** Page after page until there are enough. */
async function gathered(
  client: Client<typeof ApprovalService>,
  { tenant, settled = false, limit }: ListOptions,
): Promise<{ approvals: Approval[]; more: boolean }> {
  const approvals: Approval[] = [];
  let pageToken = '';
  do {
    const pageSize = Math.min(MOST_OF_PAGE, limit - approvals.length);
    const page = await client.listApprovals({ tenant, includeSettled: settled, pageSize, pageToken });
    approvals.push(...page.approvals);
    pageToken = page.nextPageToken;
  } while (pageToken !== '' && approvals.length < limit);
  return { approvals, more: pageToken !== '' };
}

const show = (): Command =>
  new Command('show')
    .description('show one request, also one that is over')
    .argument('<id>')
    .requiredOption('-t, --tenant <id>', 'the tenant')
    .addHelpText('after', '\nExample:\n  $ mandate approval show -t acme "$REQUEST"\n')
    .action(async (id: string, { tenant }: { tenant: string }, command: Command) => {
      const globals = globalsOf(command);
      const { approval } = await clientOf(ApprovalService, 'admin', globals).getApproval({ tenant, id });
      if (!approval) return;
      if (globals.json) return printJson(asJson(approval));
      printFields(fieldsOf(approval));
    });

const fieldsOf = (each: Approval): [string, string][] => [
  ['request', each.id],
  ['state', wordOf(each)],
  ['for', each.kind === 'exchange' ? 'a token' : 'a decision'],
  ['asked by', each.caller],
  ['subject', nameOf(each.subject)],
  ['stated', jsonOf(each.stated)],
  ['actors', each.actors.map(nameOf).join(' < ')],
  ['action', each.action?.name ?? ''],
  ['', jsonOf(each.action?.properties)],
  ['resource', resourceOf(each)],
  ['properties', jsonOf(each.resource?.properties)],
  ['context', jsonOf(each.context)],
  ['grant', jsonOf(each.grant)],
  ['reason', each.reason],
  ['template', each.template],
  ['emergency', each.emergency ? 'so the requester says' : ''],
  ['wanted until', timeOf(each.requestedUntil)],
  ['uses', `${each.usesLeft} of ${each.uses} left, for ${each.validForSeconds} seconds once it is approved`],
  ['decision', each.decisionId],
  ['opened', timeOf(each.openedAt)],
  ['decide by', timeOf(each.expiresAt)],
  ['decided', timeOf(each.settledAt)],
  ['approver', approverOf(each)],
  ['note', each.note],
  ['use by', timeOf(each.approvedUntil)],
];

interface SettleOptions {
  readonly tenant: string;
  readonly note?: string;
  readonly approverToken?: string;
}

const settling = (ruling: 'approve' | 'reject', description: string, done: string): Command =>
  new Command(ruling)
    .description(description)
    .argument('<id>')
    .requiredOption('-t, --tenant <id>', 'the tenant')
    .option('--note <text>', 'why, for the policy and the record')
    .option(
      '--approver-token <token>',
      'the access token of the person who decides, given to the caller as its client; left out, the caller decides',
    )
    .addHelpText(
      'after',
      `\nExample:\n  $ mandate approval ${ruling} -t acme "$REQUEST" --note "as agreed"\n`,
    )
    .action(async (id: string, options: SettleOptions, command: Command) => {
      const globals = globalsOf(command);
      const client = clientOf(ApprovalService, 'admin', globals);
      const { tenant, note = '', approverToken = '' } = options;
      const { approval } = await client[ruling]({ tenant, id, note, approverToken });
      if (!approval) return;
      if (globals.json) return printJson(asJson(approval));
      const until = approval.approvedUntil ? `, to be used by ${timeOf(approval.approvedUntil)}` : '';
      print(`${visible(approval.id)} ${done} by ${visible(approverOf(approval))}${until}`);
    });

const resourceOf = ({ resource }: Approval): string => (resource ? `${resource.type}:${resource.id}` : '');

const approverOf = ({ approverClass, approverId }: Approval): string =>
  approverClass === '' ? '' : `${approverClass}:${approverId}`;

const jsonOf = (value: object | undefined): string =>
  value === undefined || Object.keys(value).length === 0 ? '' : JSON.stringify(value);

const timeOf = (time: Approval['openedAt']): string => (time ? timestampDate(time).toISOString() : '');

const WORDS: readonly string[] = [
  'unknown',
  'pending',
  'approved',
  'rejected',
  'cancelled',
  'expired',
  'used',
] satisfies Record<ApprovalState, string>;
const wordOf = ({ state }: Approval): string => WORDS[state] ?? 'unknown';

const asJson = (each: Approval) => ({
  id: each.id,
  state: wordOf(each),
  kind: each.kind,
  caller: each.caller,
  subject: nameOf(each.subject),
  stated: each.stated ?? {},
  actors: each.actors.map(nameOf),
  action: { name: each.action?.name ?? '', properties: each.action?.properties ?? {} },
  resource: {
    type: each.resource?.type ?? '',
    id: each.resource?.id ?? '',
    properties: each.resource?.properties ?? {},
  },
  context: each.context ?? {},
  grant: each.grant ?? null,
  reason: each.reason,
  template: each.template,
  emergency: each.emergency,
  requested_until: timeOf(each.requestedUntil) || null,
  decision_id: each.decisionId,
  opened_at: timeOf(each.openedAt),
  expires_at: timeOf(each.expiresAt),
  uses: each.uses,
  uses_left: each.usesLeft,
  valid_for: each.validForSeconds,
  approver: approverOf(each) || null,
  settled_at: timeOf(each.settledAt) || null,
  note: each.note,
  approved_until: timeOf(each.approvedUntil) || null,
});
