import { Command } from 'commander';
import { ServiceError } from '../errors.ts';
import { TenantService } from '../gen/mandate/v1/tenant_pb.ts';
import { clientOf } from './client.ts';
import { ROOT_FLAG, ROOT_HELP } from './policy/folder.ts';
import { patient } from './policy/release/patience.ts';
import { globalsOf, print, printJson } from './terminal/output.ts';

export const putTenant = (): Command =>
  new Command('put')
    .description(
      'give the server a tenant that stands in no folder of its own, or anew what was put before; exits 2 with file and line if it cannot',
    )
    .argument('<folder>', 'a folder with a tenant.yaml, Rego, tests and data')
    .option(ROOT_FLAG, ROOT_HELP)
    .addHelpText('after', '\nExample:\n  $ mandate tenant put ./initech\n')
    .action(async (folder: string, { root = folder }: { root?: string }, command: Command) => {
      const globals = patient(globalsOf(command));
      const { readTenantFiles } = await import('../tenancy/folder/read.ts');
      const { readTenant } = await import('../tenancy/tenants.ts');
      const read = await readTenantFiles({ folder, root });
      const [fault] = read.faults;
      if (fault) throw new ServiceError('config_invalid', `${folder}/${fault.file}: ${fault.problem}`);
      const { id } = await readTenant(read);
      const all = [['tenant.yaml', read.manifest ?? Buffer.alloc(0)] as const, ...read.files];
      const { created, revision } = await clientOf(TenantService, 'admin', globals).putTenant({
        tenant: id,
        files: all.map(([path, bytes]) => ({ path, content: Uint8Array.from(bytes) })),
      });
      if (globals.json) return printJson({ tenant: id, created, revision });
      print(`${id} is ${created ? 'served' : 'served anew'} by ${revision.slice(0, 19)}`);
    });

export const retireTenant = (): Command =>
  new Command('retire')
    .description('end serving a tenant that was put; its log and what was revoked stay in the store')
    .argument('<tenant>', 'its id')
    .option('--reason <text>', 'why, for the record')
    .addHelpText('after', '\nExample:\n  $ mandate tenant retire initech\n')
    .action(async (tenant: string, { reason = '' }: { reason?: string }, command: Command) => {
      const globals = globalsOf(command);
      await clientOf(TenantService, 'admin', globals).retireTenant({ tenant, reason });
      if (globals.json) return printJson({ tenant });
      print(`${tenant} is retired`);
    });
