import type { JsonObject } from '@bufbuild/protobuf';
import { timestampDate } from '@bufbuild/protobuf/wkt';
import { Command, Option } from 'commander';
import { ServiceError } from '../errors.ts';
import { type Cut, DelegationService } from '../gen/mandate/v1/delegation_pb.ts';
import { clientOf } from './client.ts';
import { devTokenCommand } from './dev-token.ts';
import { globalsOf, print, printFields, printJson, warn } from './terminal/output.ts';
import { budgetOption, duration, jsonObjects, keyed, wholeNumber } from './terminal/values.ts';

const TOKEN_TYPES = 'urn:ietf:params:oauth:token-type:';
const ACCESS_TOKEN = `${TOKEN_TYPES}access_token`;

/** The most the message holds. What is longer than allowed is cut short by the server. */
const MAX_UINT32 = 0xffff_ffff;

export function tokenCommands(): Command {
  return new Command('token')
    .description('exchange, introspect and revoke delegated tokens')
    .addCommand(exchange())
    .addCommand(issue())
    .addCommand(introspect())
    .addCommand(revoke())
    .addCommand(devTokenCommand());
}

const exchange = (): Command =>
  new Command('exchange')
    .description('get a narrow token to act for a subject; prints the token alone, or all with --json')
    .requiredOption('-t, --tenant <id>', 'the tenant')
    .requiredOption('--subject-token <token>', "the subject's token")
    .option('--subject-token-type <urn>', 'access_token, id_token, jwt or id-jag', 'access_token')
    .option(
      '--audience <name>',
      'the one target the token is for; again for its other names. Left out with id-jag alone, which says it',
      listed,
      [],
    )
    .option('--scope <scopes>', 'separated by spaces; left out with id-jag alone', '')
    .option('--requested-token-type <urn>', 'access_token, jwt or id-jag', 'access_token')
    .option(
      '--resource <uri>',
      'with --requested-token-type id-jag: what of the authority that is the audience; again for more',
      listed,
      [],
    )
    .addOption(new Option('--use <class>', 'what it is for at most').choices(['read', 'suggest', 'act']))
    .option('--authorization-details <json>', 'an array of details (RFC 9396)', jsonObjects)
    .option('--may-act <class:id>', 'who alone may take the token on')
    .option('--actor-token <token>', "the agent's own access token, of an issuer that the tenant trusts")
    .option('--lifetime <seconds>', 'shorter than five minutes', wholeNumber(1, MAX_UINT32))
    .option('--task <purpose>', 'open a task, of which fresh tokens may be had: "mandate task renew"')
    .option(
      '--task-lifetime <time>',
      'until when, such as 4h; left out, as long as the tenant allows',
      duration,
    )
    .option(
      '--task-budget <meter=most>',
      'how much it may come to by a meter; again for others',
      budgetOption,
    )
    .option(
      '--request-approval <reason>',
      'where the policy wants approval first, ask for it; the error says by which id to go on',
    )
    .addOption(new Option('--approval <id>', 'go on with what was asked for').conflicts('requestApproval'))
    .addHelpText(
      'after',
      '\nThe credential is the agent\'s own: --credential or MANDATE_CREDENTIAL.\n\nExample:\n  $ mandate --credential "$AGENT_SECRET" token exchange -t acme --subject-token "$USER_TOKEN" --audience docs-mcp --scope docs.read\n\nid-jag is an identity assertion, of an identity provider or for another authority:\n  $ mandate token exchange -t acme --subject-token "$ASSERTION" --subject-token-type id-jag\n  $ mandate token exchange -t acme --subject-token "$USER_TOKEN" --scope docs.read --requested-token-type id-jag --audience https://auth.chat.example --resource https://mcp.chat.example/\n',
    )
    .action(
      async (
        options: {
          tenant: string;
          subjectToken: string;
          subjectTokenType: string;
          audience: string[];
          scope: string;
          requestedTokenType: string;
          resource: string[];
          use?: string;
          authorizationDetails?: JsonObject[];
          mayAct?: string;
          actorToken?: string;
          lifetime?: number;
          task?: string;
          taskLifetime?: number;
          taskBudget?: Record<string, number>;
          requestApproval?: string;
          approval?: string;
        },
        command: Command,
      ) => {
        const globals = globalsOf(command);
        checkSaid(options);
        const answer = await clientOf(DelegationService, 'data', globals).exchange({
          tenant: options.tenant,
          subjectToken: options.subjectToken,
          subjectTokenType: typeOf(options.subjectTokenType),
          requestedTokenType: typeOf(options.requestedTokenType),
          resources: options.resource,
          audience: options.audience[0] ?? '',
          moreAudiences: options.audience.slice(1),
          scopes: options.scope.split(' ').filter((each) => each !== ''),
          use: options.use ?? '',
          authorizationDetails: options.authorizationDetails ?? [],
          ...(options.mayAct === undefined ? {} : { mayAct: refOf(options.mayAct) }),
          actorToken: options.actorToken ?? '',
          actorTokenType: options.actorToken === undefined ? '' : ACCESS_TOKEN,
          lifetimeSeconds: options.lifetime ?? 0,
          ...(options.task !== undefined && {
            task: {
              purpose: options.task,
              lifetimeSeconds: options.taskLifetime ?? 0,
              budget: options.taskBudget ?? {},
            },
          }),
          requestApproval: options.requestApproval !== undefined,
          approvalReason: options.requestApproval ?? '',
          approval: options.approval ?? '',
        });
        const cut = answer.cut && cutOf(answer.cut);
        if (!globals.json) {
          // What a script reads is the token alone.
          if (cut) warn(`the policy has limited it: ${JSON.stringify(cut)}`);
          return print(answer.accessToken);
        }
        printJson({
          access_token: answer.accessToken,
          issued_token_type: answer.issuedTokenType,
          expires_in: answer.expiresInSeconds,
          scope: answer.scopes.join(' '),
          use: answer.use,
          ...(answer.authorizationDetails.length > 0
            ? { authorization_details: answer.authorizationDetails }
            : {}),
          grant_id: answer.grantId,
          ...(answer.taskId !== '' && {
            task_id: answer.taskId,
            task_expires_in: answer.taskExpiresInSeconds,
          }),
          cut,
          decision_id: answer.decisionId,
          record_index: answer.recordIndex,
        });
      },
    );

/** An assertion says for what it is; with anything else it is to be said. Throws `invalid_request`. */
function checkSaid(said: { subjectTokenType: string; audience: readonly string[]; scope: string }): void {
  if (typeOf(said.subjectTokenType) === `${TOKEN_TYPES}id-jag`) return;
  const missing = said.audience.length === 0 ? '--audience' : said.scope === '' ? '--scope' : undefined;
  if (missing !== undefined)
    throw new ServiceError('invalid_request', `${missing} is missing: say what the token is for`);
}

/** By its last part, or in full. */
const typeOf = (name: string): string => (name.includes(':') ? name : `${TOKEN_TYPES}${name}`);

/** For commander: each time the option is given one more. */
const listed = (value: string, before: string[] = []): string[] => [...before, value];

function refOf(text: string): { class: string; id: string } {
  const [cls, id] = keyed(text, '--may-act', 'class:id');
  return { class: cls, id };
}

/** As it stands in records. */
const cutOf = ({
  scopes,
  lifetimeSeconds,
  use,
  authorizationDetails: details,
}: Cut): Record<string, unknown> => ({
  ...(scopes.length > 0 ? { scope: scopes } : {}),
  ...(lifetimeSeconds > 0 ? { lifetime_seconds: lifetimeSeconds } : {}),
  ...(use === '' ? {} : { use }),
  ...(details > 0 ? { authorization_details: details } : {}),
});

const issue = (): Command =>
  new Command('issue')
    .description('get a token for the service or job itself, which acts for nobody; prints the token alone')
    .requiredOption('-t, --tenant <id>', 'the tenant')
    .requiredOption('--audience <name>', 'the one target the token is for; again for its other names', listed)
    .requiredOption('--scope <scopes>', 'separated by spaces')
    .addHelpText(
      'after',
      '\nThe credential is that of the service or job: --credential or MANDATE_CREDENTIAL.\n\nExample:\n  $ mandate --credential "$JOB_SECRET" token issue -t acme --audience docs-mcp --scope docs.read\n',
    )
    .action(async (options: { tenant: string; audience: string[]; scope: string }, command: Command) => {
      const globals = globalsOf(command);
      const answer = await clientOf(DelegationService, 'data', globals).exchange({
        tenant: options.tenant,
        forItself: true,
        audience: options.audience[0] ?? '',
        moreAudiences: options.audience.slice(1),
        scopes: options.scope.split(' ').filter((each) => each !== ''),
      });
      if (!globals.json) return print(answer.accessToken);
      printJson({
        access_token: answer.accessToken,
        expires_in: answer.expiresInSeconds,
        scope: answer.scopes.join(' '),
        grant_id: answer.grantId,
        decision_id: answer.decisionId,
        record_index: answer.recordIndex,
      });
    });

const introspect = (): Command =>
  new Command('introspect')
    .description('say what a token still is')
    .argument('<token>')
    .requiredOption('-t, --tenant <id>', 'the tenant')
    .addHelpText('after', '\nExample:\n  $ mandate token introspect -t acme "$TOKEN"\n')
    .action(async (token: string, options: { tenant: string }, command: Command) => {
      const globals = globalsOf(command);
      const answer = await clientOf(DelegationService, 'data', globals).introspect({
        tenant: options.tenant,
        token,
      });
      const name = (ref?: { class: string; id: string }): string => (ref ? `${ref.class}:${ref.id}` : '');
      const details = answer.authorizationDetails;
      const fields: [string, string][] = [
        ['active', String(answer.active)],
        ['subject', name(answer.subject)],
        ['actors', answer.actors.map(name).join(' < ')],
        ['scope', answer.scopes.join(' ')],
        ['use', answer.use],
        ['details', details.map((each) => JSON.stringify(each)).join(' ')],
        ['audience', [answer.audience, ...answer.moreAudiences].join(' ')],
        ['may act', name(answer.mayAct)],
        ['grant', answer.grantId],
        ['expires', answer.expiresAt ? timestampDate(answer.expiresAt).toISOString() : ''],
      ];
      if (!globals.json) return printFields(fields);
      if (!answer.active) return printJson({ active: false });
      const { details: _details, 'may act': mayAct, ...rest } = Object.fromEntries(fields);
      printJson({
        ...rest,
        active: true,
        ...(mayAct ? { may_act: mayAct } : {}),
        ...(details.length > 0 ? { authorization_details: details } : {}),
        authentication: answer.authentication,
      });
    });

const revoke = (): Command =>
  new Command('revoke')
    .description('end a token, and every token that came from it')
    .argument('<token-or-grant-id>')
    .requiredOption('-t, --tenant <id>', 'the tenant')
    .addHelpText('after', '\nExample:\n  $ mandate token revoke -t acme "$TOKEN"\n')
    .action(async (target: string, options: { tenant: string }, command: Command) => {
      const globals = globalsOf(command);
      const { revoked } = await clientOf(DelegationService, 'data', globals).revoke({
        tenant: options.tenant,
        target: target.includes('.') ? { case: 'token', value: target } : { case: 'grantId', value: target },
      });
      if (globals.json) printJson({ revoked });
      else print(revoked === 0 ? 'nothing to revoke' : `revoked ${revoked} grant${revoked === 1 ? '' : 's'}`);
    });
