import { Command } from 'commander';
import { PrincipalStatus, TenantService } from '../gen/mandate/v1/tenant_pb.ts';
import { clientOf } from './client.ts';
import { globalsOf, print, printJson, printTable } from './terminal/output.ts';
import { keyed } from './terminal/values.ts';

export function tenantCommands(): Command {
  return new Command('tenant')
    .description('see tenants, disable and enable principals')
    .addCommand(list())
    .addCommand(status('disable', PrincipalStatus.DISABLED, 'disable a principal and revoke its grants'))
    .addCommand(status('enable', PrincipalStatus.ACTIVE, 'enable a principal again'));
}

const list = (): Command =>
  new Command('list')
    .description('list the tenants that are served')
    .addHelpText('after', '\nExample:\n  $ mandate tenant list\n')
    .action(async (_options: unknown, command: Command) => {
      const globals = globalsOf(command);
      const { tenants } = await clientOf(TenantService, 'admin', globals).listTenants({});
      if (globals.json)
        return printJson(
          tenants.map((each) => ({
            id: each.id,
            display_name: each.displayName,
            issuer: each.issuer,
            policy_revision: each.policyRevision,
            principals: each.principals,
            records: each.records,
            degraded: each.degraded,
          })),
        );
      printTable(
        ['TENANT', 'NAME', 'PRINCIPALS', 'RECORDS', 'REVISION', 'STATE'],
        tenants.map((each) => [
          each.id,
          each.displayName,
          String(each.principals),
          String(each.records),
          each.policyRevision.slice(0, 19),
          each.degraded || 'ok',
        ]),
      );
    });

const status = (name: string, value: PrincipalStatus, description: string): Command =>
  new Command(name)
    .description(description)
    .argument('<class:id>', 'the principal, for example user:bob')
    .requiredOption('-t, --tenant <id>', 'the tenant')
    .addHelpText('after', `\nExample:\n  $ mandate tenant ${name} -t acme user:bob\n`)
    .action(async (principal: string, options: { tenant: string }, command: Command) => {
      const globals = globalsOf(command);
      const [cls, id] = keyed(principal, 'the principal', 'class:id');
      const { revoked } = await clientOf(TenantService, 'admin', globals).setPrincipalStatus({
        tenant: options.tenant,
        class: cls,
        id,
        status: value,
      });
      if (globals.json) printJson({ principal, status: name === 'disable' ? 'disabled' : 'active', revoked });
      else {
        const ended = revoked === 0 ? '' : `, ${revoked} grant${revoked === 1 ? '' : 's'} revoked`;
        print(`${principal} ${name}d${ended}`);
      }
    });
