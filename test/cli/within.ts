import { Command, Option } from 'commander';
import { auditCommands } from '../../src/cli/audit/audit.ts';
import { describe, ServiceError } from '../../src/errors.ts';
import { type Ran, spied } from './run.ts';

/** `mandate audit` in this process: what hundreds of files are given to, one after the other. */
export async function audit(...args: string[]): Promise<Ran> {
  const [stdout, stderr] = [spied('stdout'), spied('stderr')];
  const before = process.exitCode;
  process.exitCode = 0;
  try {
    const program = new Command('mandate')
      .option('--json')
      .option('--timeout <seconds>', '', Number, 10)
      .option('--admin <url>', '', 'http://127.0.0.1:7401')
      .addOption(new Option('--credential <secret>').env('MANDATE_CREDENTIAL'));
    await program.addCommand(auditCommands()).parseAsync(['audit', ...args], { from: 'user' });
    return { code: process.exitCode, stdout: stdout.text(), stderr: stderr.text() };
  } catch (error) {
    const code = error instanceof ServiceError ? `${error.code}: ` : '';
    return { code: 2, stdout: stdout.text(), stderr: `${code}${describe(error)}` };
  } finally {
    process.exitCode = before;
    stdout.restore();
    stderr.restore();
  }
}
