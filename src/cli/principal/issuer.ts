import { toJson } from '@bufbuild/protobuf';
import { Command } from 'commander';
import { IssuerSchema, TenantService, type TestIssuerResponse } from '../../gen/mandate/v1/tenant_pb.ts';
import { clientOf } from '../client.ts';
import { ExitCode, globalsOf, print, printFields, printJson, printTable } from '../terminal/output.ts';
import { issuersIn } from './file.ts';

export function issuerCommands(): Command {
  return new Command('issuer')
    .description('trust identity providers, see and test them')
    .addCommand(put())
    .addCommand(list())
    .addCommand(test())
    .addCommand(remove());
}

interface Named {
  readonly tenant: string;
}

const ofTenant = (command: Command): Command => command.requiredOption('-t, --tenant <id>', 'the tenant');

const put = (): Command =>
  ofTenant(new Command('put'))
    .description('trust issuers, or change what is taken of them')
    .argument(
      '<file>',
      'YAML or JSON: one, a list, or "issuers: […]", as in tenant.yaml; - reads standard input',
    )
    .addHelpText('after', '\nExample:\n  $ mandate issuer put -t acme login.yaml\n')
    .action(async (file: string, { tenant }: Named, command: Command) => {
      const globals = globalsOf(command);
      const client = clientOf(TenantService, 'admin', globals);
      const issuers = await issuersIn(file);
      // Each is a change of its own: what was said of one stands where the next is refused.
      for (const issuer of issuers) {
        await client.putIssuer({ tenant, issuer });
        if (!globals.json) print(`${issuer.issuer} is trusted`);
      }
      if (globals.json) printJson({ put: issuers.map(({ issuer }) => issuer) });
    });

const list = (): Command =>
  ofTenant(new Command('list'))
    .description('list the issuers that the tenant trusts; with --json as "issuer put" takes them')
    .addHelpText('after', '\nExample:\n  $ mandate issuer list -t acme\n')
    .action(async ({ tenant }: Named, command: Command) => {
      const globals = globalsOf(command);
      const { issuers } = await clientOf(TenantService, 'admin', globals).listIssuers({ tenant });
      if (globals.json)
        return printJson(issuers.map((each) => toJson(IssuerSchema, each, { useProtoFieldName: true })));
      printTable(
        ['ISSUER', 'MANAGED BY', 'NAMES', 'CLAIM', 'AUDIENCES'],
        issuers.map((each) => [
          each.issuer,
          each.managedBy,
          each.subjectClass,
          each.subjectClaim,
          each.audiences.join(' '),
        ]),
      );
    });

const test = (): Command =>
  ofTenant(new Command('test'))
    .description('fetch the keys of a trusted issuer, and try a token; exits 1 if something is wrong')
    .argument('<issuer>', 'its address, as its tokens name it')
    .option('--token <token>', 'a token of its')
    .addHelpText(
      'after',
      '\nExample:\n  $ mandate issuer test -t acme https://login.acme.example --token "$TOKEN"\n',
    )
    .action(async (issuer: string, options: Named & { token?: string }, command: Command) => {
      const globals = globalsOf(command);
      const answer = await clientOf(TenantService, 'admin', globals).testIssuer({ ...options, issuer });
      const isGood = answer.keysProblem === '' && answer.tokenProblem === '';
      if (globals.json) printJson(documentOf(answer));
      else show(answer);
      if (!isGood) process.exitCode = ExitCode.deny;
    });

const documentOf = ({
  jwksUri,
  keys,
  keysProblem,
  subject,
  tokenKind,
  tokenProblem,
  groups,
  roles,
}: TestIssuerResponse) => ({
  jwks_uri: jwksUri,
  keys: keys.map(({ kid, kty, algorithms }) => ({ kid, kty, algorithms })),
  keys_problem: keysProblem,
  ...(subject && { subject: `${subject.class}:${subject.id}`, token_kind: tokenKind, groups, roles }),
  token_problem: tokenProblem,
});

function show(answer: TestIssuerResponse): void {
  const { jwksUri, keys, keysProblem, subject, tokenKind, tokenProblem, groups, roles } = answer;
  printFields([
    ['keys at', jwksUri],
    ['problem', keysProblem],
    ...keys.map(({ kid, kty, algorithms }): [string, string] => [
      'key',
      `${kid || '(without a kid)'} ${kty}: ${algorithms.join(', ') || 'of no use: no algorithm of the issuer is its own'}`,
    ]),
    [
      'token',
      subject
        ? `${tokenKind === 'id_token' ? 'an ID token' : 'an access token'} of ${subject.class}:${subject.id}`
        : '',
    ],
    ['groups', groups.join(', ')],
    ['roles', roles.join(', ')],
    ['token', tokenProblem === '' ? '' : `not taken: ${tokenProblem}`],
  ]);
}

const remove = (): Command =>
  ofTenant(new Command('remove'))
    .description('trust an issuer no more: its tokens are refused at once')
    .argument('<issuer>', 'its address')
    .addHelpText('after', '\nExample:\n  $ mandate issuer remove -t acme https://login.acme.example\n')
    .action(async (issuer: string, { tenant }: Named, command: Command) => {
      const globals = globalsOf(command);
      await clientOf(TenantService, 'admin', globals).removeIssuer({ tenant, issuer });
      if (globals.json) printJson({ removed: issuer });
      else print(`${issuer} is trusted no more`);
    });
