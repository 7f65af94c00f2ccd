import { Command } from 'commander';
import { TenantService } from '../gen/mandate/v1/tenant_pb.ts';
import { clientOf } from './client.ts';
import { newTenant } from './new-tenant.ts';
import { disable, enable } from './principal/principal.ts';
import { putTenant, retireTenant } from './put-tenant.ts';
import { globalsOf, printJson, printTable } from './terminal/output.ts';

export function tenantCommands(): Command {
  return new Command('tenant')
    .description('make, put, retire and see tenants, disable and enable principals')
    .addCommand(newTenant())
    .addCommand(list())
    .addCommand(putTenant())
    .addCommand(retireTenant())
    .addCommand(disable())
    .addCommand(enable());
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
            state: each.state,
            why: each.why,
          })),
        );
      printTable(
        ['TENANT', 'NAME', 'PRINCIPALS', 'RECORDS', 'REVISION', 'STATE', 'WHY'],
        tenants.map((each) => [
          each.id,
          each.displayName,
          String(each.principals),
          String(each.records),
          each.policyRevision.slice(0, 19),
          each.state || each.degraded || 'ok',
          each.why,
        ]),
      );
    });
