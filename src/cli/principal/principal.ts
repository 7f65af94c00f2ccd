import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { Command } from 'commander';
import { systemClock } from '../../effects.ts';
import { ServiceError } from '../../errors.ts';
import { type Principal, PrincipalStatus, TenantService } from '../../gen/mandate/v1/tenant_pb.ts';
import { clientOf } from '../client.ts';
import { globalsOf, print, printFields, printJson, printTable, warn } from '../terminal/output.ts';
import { duration, keyed, untilWhen } from '../terminal/values.ts';
import { principalsIn } from './file.ts';
import { documentOf, fieldsOf, statusOf } from './shown.ts';

export function principalCommands(): Command {
  return new Command('principal')
    .description('register principals and their credentials, see, disable and retire them')
    .addCommand(put())
    .addCommand(list())
    .addCommand(show())
    .addCommand(disable())
    .addCommand(enable())
    .addCommand(rotate())
    .addCommand(removeCredential())
    .addCommand(retire());
}

/** Of how many, in words. */
const revokedText = (revoked: number): string =>
  revoked === 0 ? '' : `, ${revoked} grant${revoked === 1 ? '' : 's'} revoked`;

interface Named {
  readonly tenant: string;
}

const ofTenant = (command: Command): Command => command.requiredOption('-t, --tenant <id>', 'the tenant');

const ofPrincipal = (command: Command): Command =>
  ofTenant(command.argument('<class:id>', 'the principal, for example agent:helper'));

const refOf = (principal: string, { tenant }: Named): { tenant: string; class: string; id: string } => {
  const [cls, id] = keyed(principal, 'the principal', 'class:id');
  return { tenant, class: cls, id };
};

const put = (): Command =>
  ofTenant(new Command('put'))
    .description('create or replace principals, all that the file holds or none')
    .argument(
      '<file>',
      'YAML or JSON: one, a list, or "principals: […]", as in tenant.yaml; - reads standard input',
    )
    .addHelpText('after', '\nExample:\n  $ mandate principal put -t acme agents.yaml\n')
    .action(async (file: string, { tenant }: Named, command: Command) => {
      const globals = globalsOf(command);
      const principals = await principalsIn(file);
      const { written, suspended } = await clientOf(TenantService, 'admin', globals).putPrincipals({
        tenant,
        principals,
      });
      if (globals.json) return printJson({ written, suspended });
      print(`${written} principal${written === 1 ? '' : 's'} written`);
      for (const each of suspended)
        warn(`mandate: ${each} is suspended: nobody who answers for it is active`);
    });

const PAGE = 1_000;

const list = (): Command =>
  ofTenant(new Command('list'))
    .description('list principals')
    .option('--class <class>', 'user, agent, mcp_server, service or job')
    .option('--owner <owner>', 'those that user:<id> or group:<name> answers for')
    .addHelpText('after', '\nExample:\n  $ mandate principal list -t acme --class agent\n')
    .action(async (options: Named & { class?: string; owner?: string }, command: Command) => {
      const globals = globalsOf(command);
      const client = clientOf(TenantService, 'admin', globals);
      const all: Principal[] = [];
      let pageToken = '';
      do {
        const page = await client.listPrincipals({ ...options, limit: PAGE, pageToken });
        all.push(...page.principals);
        pageToken = page.nextPageToken;
      } while (pageToken !== '');
      if (globals.json) return printJson(all.map(documentOf));
      printTable(
        ['PRINCIPAL', 'STATUS', 'MANAGED BY', 'CREDENTIALS', 'OWNERS', 'ROLES'],
        all.map((each) => [
          `${each.class}:${each.id}`,
          statusOf(each),
          each.managedBy,
          String(each.credentials.length),
          each.owners.join(' '),
          each.roles.join(' '),
        ]),
      );
    });

const show = (): Command =>
  ofPrincipal(new Command('show'))
    .description('show a principal; with --json as "principal put" takes it')
    .addHelpText('after', '\nExample:\n  $ mandate principal show -t acme agent:research-agent\n')
    .action(async (name: string, options: Named, command: Command) => {
      const globals = globalsOf(command);
      const { principal } = await clientOf(TenantService, 'admin', globals).getPrincipal(
        refOf(name, options),
      );
      if (!principal) throw new ServiceError('internal', 'the server answered no principal');
      if (globals.json) printJson(documentOf(principal));
      else printFields(fieldsOf(principal));
    });

/** Under `tenant` too, where they were first. */
export const disable = (): Command =>
  status('disable', PrincipalStatus.DISABLED, 'disable a principal and revoke its grants');
export const enable = (): Command => status('enable', PrincipalStatus.ACTIVE, 'enable a principal again');

const status = (name: string, value: PrincipalStatus, description: string): Command =>
  ofPrincipal(new Command(name))
    .description(description)
    .addHelpText('after', `\nExample:\n  $ mandate principal ${name} -t acme user:bob\n`)
    .action(async (principal: string, options: Named, command: Command) => {
      const globals = globalsOf(command);
      const { revoked } = await clientOf(TenantService, 'admin', globals).setPrincipalStatus({
        ...refOf(principal, options),
        status: value,
      });
      if (globals.json) printJson({ principal, status: name === 'disable' ? 'disabled' : 'active', revoked });
      else print(`${principal} ${name}d${revokedText(revoked)}`);
    });

const rotate = (): Command =>
  ofPrincipal(new Command('rotate'))
    .description('make a new secret for a principal, and print it once')
    .option('--overlap <time>', 'how long the secrets it has go on, for example 24h', duration, 0)
    .option('--expires <when>', 'when the new one ends: a time, or an age such as 90d')
    .addHelpText('after', '\nExample:\n  $ mandate principal rotate -t acme agent:helper --overlap 24h\n')
    .action(
      async (name: string, options: Named & { overlap: number; expires?: string }, command: Command) => {
        const globals = globalsOf(command);
        const expires = options.expires === undefined ? undefined : untilWhen(options.expires, systemClock());
        const answer = await clientOf(TenantService, 'admin', globals).rotateCredential({
          ...refOf(name, options),
          overlapSeconds: options.overlap,
          ...(expires !== undefined && { expiresAt: timestampFromMs(expires) }),
        });
        if (globals.json) return printJson({ secret: answer.secret, credential_id: answer.credentialId });
        printFields([
          ['secret', `${answer.secret}   (give it to ${name}; it is not kept)`],
          ['credential', answer.credentialId],
        ]);
      },
    );

const removeCredential = (): Command =>
  ofPrincipal(new Command('remove-credential'))
    .description("end one credential at once, and every grant of its principal's")
    .argument('<credential>', 'its id, as "principal show" names it')
    .addHelpText(
      'after',
      '\nExample:\n  $ mandate principal remove-credential -t acme agent:helper 33e4c40fcc17d5d1\n',
    )
    .action(async (name: string, credentialId: string, options: Named, command: Command) => {
      const globals = globalsOf(command);
      const ref = refOf(name, options);
      const { revoked } = await clientOf(TenantService, 'admin', globals).removeCredential({
        ...ref,
        credentialId,
      });
      if (globals.json) printJson({ principal: name, credential_id: credentialId, revoked });
      else print(`credential ${credentialId} of ${name} removed${revokedText(revoked)}`);
    });

const retire = (): Command =>
  ofPrincipal(new Command('retire'))
    .description('disable a principal for good: its credentials go, its name is not given again')
    .addHelpText('after', '\nExample:\n  $ mandate principal retire -t acme agent:helper\n')
    .action(async (name: string, options: Named, command: Command) => {
      const globals = globalsOf(command);
      const { revoked } = await clientOf(TenantService, 'admin', globals).retirePrincipal(
        refOf(name, options),
      );
      if (globals.json) printJson({ principal: name, status: 'retired', revoked });
      else print(`${name} retired${revokedText(revoked)}`);
    });
