import { Command } from 'commander';
import { newPolicy } from '../new-tenant.ts';
import { benchCommand } from './bench.ts';
import { buildCommand } from './build.ts';
import { checkCommand } from './check.ts';
import { evalCommand } from './eval.ts';
import { fmtCommand } from './fmt.ts';
import { importCommand } from './import.ts';
import { lintCommand } from './lint.ts';
import { activate, reload, rollback } from './release/activate.ts';
import { diff, list, show } from './release/list.ts';
import { push, validate } from './release/push.ts';
import { replay } from './release/replay.ts';
import { promote, shadow, stage } from './release/trial.ts';
import { schemasCommand } from './schemas.ts';
import { testCommand } from './tests/test.ts';

export function policyCommands(): Command {
  return new Command('policy')
    .description("check and test a tenant's Rego without a server, and release it on one")
    .addCommand(newPolicy())
    .addCommand(importCommand())
    .addCommand(checkCommand())
    .addCommand(testCommand())
    .addCommand(evalCommand())
    .addCommand(fmtCommand())
    .addCommand(lintCommand())
    .addCommand(benchCommand())
    .addCommand(buildCommand())
    .addCommand(schemasCommand())
    .addCommand(push())
    .addCommand(validate())
    .addCommand(list())
    .addCommand(show())
    .addCommand(diff())
    .addCommand(replay())
    .addCommand(shadow())
    .addCommand(stage())
    .addCommand(promote())
    .addCommand(activate())
    .addCommand(rollback())
    .addCommand(reload());
}
