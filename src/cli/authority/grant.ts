import { timestampDate } from '@bufbuild/protobuf/wkt';
import type { Client } from '@connectrpc/connect';
import { Command } from 'commander';
import { type Grant, GrantService, GrantState } from '../../gen/mandate/v1/grant_pb.ts';
import type { PrincipalRef } from '../../gen/mandate/v1/model_pb.ts';
import { clientOf } from '../client.ts';
import { globalsOf, print, printFields, printJson, printTable } from '../terminal/output.ts';
import { keyed, wholeNumber } from '../terminal/values.ts';
import { capJson } from './cap.ts';
import { drawn } from './tree.ts';

export const grantCommands = (): Command =>
  new Command('grant')
    .description('see what was delegated, to whom, and what came of it')
    .addCommand(list())
    .addCommand(show())
    .addCommand(tree());

interface ListOptions {
  readonly tenant: string;
  readonly subject?: string;
  readonly actor?: string;
  readonly audience?: string;
  readonly under?: string;
  readonly ended?: boolean;
  readonly tasks?: boolean;
  readonly limit: number;
}

const list = (): Command =>
  new Command('list')
    .description('list living grants, those that end last first; an agent sees its own')
    .requiredOption('-t, --tenant <id>', 'the tenant')
    .option('--subject <class:id>', 'on whose behalf')
    .option('--actor <class:id>', 'who acts now')
    .option('--audience <name>', 'for which target')
    .option('--under <grant-id>', 'that grant and all that came from it')
    .option('--ended', 'also those that have expired or were ended, for a week')
    .option('--limit <count>', 'at most so many', wholeNumber(1, 1_000_000), 100)
    .addHelpText('after', '\nExample:\n  $ mandate grant list -t acme --subject user:alice\n')
    .action(async (options: ListOptions, command: Command) => {
      const globals = globalsOf(command);
      const client = clientOf(GrantService, 'data', globals);
      const { grants, more } = await gathered(client, options);
      if (globals.json) return printJson({ grants: grants.map(asJson), more });
      printTable(
        ['GRANT', 'SUBJECT', 'ACTOR', 'AUDIENCE', 'SCOPE', 'STATE'],
        grants.map((each) => [
          each.id,
          nameOf(each.subject),
          nameOf(each.actors[0]),
          each.audiences.join(' '),
          each.scopes.join(' '),
          stateOf(each),
        ]),
      );
      if (more) print(`and more: --limit ${options.limit * 10}`);
    });

/** Page after page until there are enough. */
export async function gathered(
  client: Client<typeof GrantService>,
  options: ListOptions,
): Promise<{ grants: Grant[]; more: boolean }> {
  const [subject, actor] = [refOf('--subject', options.subject), refOf('--actor', options.actor)];
  const question = {
    tenant: options.tenant,
    ...(subject && { subject }),
    ...(actor && { actor }),
    audience: options.audience ?? '',
    tasks: options.tasks ?? false,
    under: options.under ?? '',
    includeEnded: options.ended === true,
  };
  const grants: Grant[] = [];
  let pageToken = '';
  do {
    const pageSize = Math.min(1_000, options.limit - grants.length);
    const page = await client.listGrants({ ...question, pageSize, pageToken });
    grants.push(...page.grants);
    pageToken = page.nextPageToken;
  } while (pageToken !== '' && grants.length < options.limit);
  return { grants, more: pageToken !== '' };
}

function refOf(option: string, text: string | undefined): { class: string; id: string } | undefined {
  if (text === undefined) return undefined;
  const [cls, id] = keyed(text, option, 'class:id');
  return { class: cls, id };
}

const show = (): Command =>
  new Command('show')
    .description('show one grant, also one that has ended')
    .argument('<grant-id>')
    .requiredOption('-t, --tenant <id>', 'the tenant')
    .addHelpText('after', '\nExample:\n  $ mandate grant show -t acme "$GRANT_ID"\n')
    .action(async (id: string, options: { tenant: string }, command: Command) => {
      const globals = globalsOf(command);
      const { grant } = await clientOf(GrantService, 'data', globals).getGrant({
        tenant: options.tenant,
        id,
      });
      if (!grant) return;
      if (globals.json) return printJson(asJson(grant));
      printFields(grantFields(grant));
    });

export const grantFields = (grant: Grant): [string, string][] => [
  ['grant', grant.id],
  ['parent', grant.parentId],
  ['subject', nameOf(grant.subject)],
  ['actors', grant.actors.map(nameOf).join(' < ')],
  ['scope', grant.scopes.join(' ')],
  ['audience', grant.audiences.join(' ')],
  ['use', grant.use],
  ...grant.authorizationDetails.map((each): [string, string] => ['details', JSON.stringify(each)]),
  ['may act', nameOf(grant.mayAct)],
  ['issuer', grant.issuer],
  ['issued', timeOf(grant.issuedAt)],
  ['expires', timeOf(grant.expiresAt)],
  ['state', stateOf(grant)],
  ['task', grant.taskId],
  ...Object.entries(grant.taskBudget).map(([name, most]): [string, string] => [
    'budget',
    `${name}: ${grant.taskUsed[name] ?? 0} of ${most}`,
  ]),
  ['cap', grant.taskCap ? JSON.stringify(capJson(grant.taskCap)) : ''],
];

/** More than that nobody reads. */
const MOST_DRAWN = 1_000;

const tree = (): Command =>
  new Command('tree')
    .description('draw a grant and all that came from it, living or not')
    .argument('<grant-id>')
    .requiredOption('-t, --tenant <id>', 'the tenant')
    .addHelpText('after', '\nExample:\n  $ mandate grant tree -t acme "$GRANT_ID"\n')
    .action(async (id: string, { tenant }: { tenant: string }, command: Command) => {
      const globals = globalsOf(command);
      const client = clientOf(GrantService, 'data', globals);
      await drawTree(client, tenant, id, globals.json === true);
    });

export async function drawTree(
  client: Client<typeof GrantService>,
  tenant: string,
  under: string,
  json: boolean,
): Promise<void> {
  const { grants, more } = await gathered(client, { tenant, under, ended: true, limit: MOST_DRAWN });
  if (json) return printJson({ grants: grants.map(asJson), more });
  for (const { branch, node } of drawn(grants)) {
    const part = `${nameOf(node.actors[0])} at ${node.audiences.join(', ')}: ${node.scopes.join(' ')}`;
    const joined = node.isTask ? `joined: ${part}` : part;
    const what = node.id === node.taskId ? `task: ${node.taskPurpose}` : joined;
    print(`${branch}${node.id}  ${what}  ${stateOf(node)}`);
  }
  if (more) print(`and more than ${MOST_DRAWN}: mandate grant list --under`);
}

export const nameOf = (ref: PrincipalRef | undefined): string => (ref ? `${ref.class}:${ref.id}` : '');

const timeOf = (time: Grant['issuedAt']): string => (time ? timestampDate(time).toISOString() : '');

const WORDS: readonly string[] = ['unknown', 'living', 'expired', 'ended'] satisfies Record<
  GrantState,
  string
>;
const wordOf = ({ state }: Grant): string => WORDS[state] ?? 'unknown';

export function stateOf(grant: Grant): string {
  if (grant.state === GrantState.ENDED) return `ended ${timeOf(grant.endedAt)}`;
  return grant.state === GrantState.LIVING ? `living until ${timeOf(grant.expiresAt)}` : wordOf(grant);
}

export const asJson = (grant: Grant) => ({
  id: grant.id,
  parent_id: grant.parentId || null,
  depth: grant.depth,
  subject: nameOf(grant.subject),
  actors: grant.actors.map(nameOf),
  scope: grant.scopes.join(' '),
  audiences: grant.audiences,
  use: grant.use,
  authorization_details: grant.authorizationDetails,
  may_act: nameOf(grant.mayAct) || null,
  task_id: grant.taskId || null,
  task_purpose: grant.taskPurpose || null,
  is_task: grant.isTask,
  ...(Object.keys(grant.taskBudget).length > 0 && { task_budget: grant.taskBudget }),
  ...(Object.keys(grant.taskUsed).length > 0 && { task_used: grant.taskUsed }),
  ...(grant.taskCap && { task_cap: capJson(grant.taskCap) }),
  issuer: grant.issuer,
  issued_at: timeOf(grant.issuedAt),
  expires_at: timeOf(grant.expiresAt),
  state: wordOf(grant),
  ended_at: timeOf(grant.endedAt) || null,
});
