import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { Command } from 'commander';
import { systemClock } from '../../../effects.ts';
import { ServiceError } from '../../../errors.ts';
import { PolicyService, type ReplayExample, type ReplayReport } from '../../../gen/mandate/v1/policy_pb.ts';
import { clientOf } from '../../client.ts';
import { type GlobalOptions, globalsOf, print, printJson, printTable } from '../../terminal/output.ts';
import { Progress } from '../../terminal/progress.ts';
import { moment, wholeNumber } from '../../terminal/values.ts';
import { short } from './shown.ts';

/** What is replayed, as options. */
export interface ReplayOptions {
  readonly tenant: string;
  readonly last?: number;
  readonly since?: string;
  readonly until?: string;
  readonly class?: string;
}

export const replay = (): Command =>
  new Command('replay')
    .description(
      'ask a revision about what was recorded, and tell what it would have decided otherwise; exits 1 if anything',
    )
    .argument('<revision>', 'as "policy list" shows it; its beginning will do')
    .requiredOption('-t, --tenant <id>', 'the tenant')
    .option('--last <count>', 'the newest so many records (default 100000, with a time all)', wholeNumber(1))
    .option('--since <when>', 'from then on: a time, or an age such as 24h')
    .option('--until <when>', 'up to then')
    .option('--class <class>', 'only what principals of it did: user, agent, mcp_server, service or job')
    .addHelpText('after', '\nExample:\n  $ mandate policy replay -t acme sha256:4f1d2c3b5a69 --since 24h\n')
    .action(async (revision: string, options: ReplayOptions, command: Command) => {
      const globals = globalsOf(command);
      const { report, tookMs } = await replayed(globals, revision, options);
      if (globals.json) printJson(documentOf(report));
      else show(report, options.tenant, revision, tookMs);
      if (report.changed > 0n || report.drifted > 0n) process.exitCode = 1;
    });

/** The report of a whole replay, with a line of progress while it lasts. */
export async function replayed(
  globals: GlobalOptions,
  revision: string,
  { tenant, last = 0, since, until, class: cls = '' }: ReplayOptions,
): Promise<{ report: ReplayReport; tookMs: number }> {
  const now = systemClock();
  const at = (when: string | undefined) =>
    when === undefined ? undefined : timestampFromMs(moment(when, now));
  using progress = new Progress('records');
  const began = performance.now();
  let said: ReplayReport | undefined;
  for await (const { passed, total, report } of clientOf(PolicyService, 'admin', globals).replay({
    tenant,
    revision,
    last: BigInt(last),
    since: at(since),
    until: at(until),
    principalClass: cls,
  })) {
    progress.tell(Number(passed), Number(total));
    // To the end of the stream: one that is left open keeps the connection, and the process with it.
    said = report ?? said;
  }
  if (said) return { report: said, tookMs: performance.now() - began };
  throw new ServiceError('unavailable', 'the replay ended without a report');
}

const many = (count: bigint, what: string): string =>
  `${count.toLocaleString('en')} ${what}${count === 1n ? '' : 's'}`;

function show(report: ReplayReport, tenant: string, revision: string, tookMs: number): void {
  const { replayed: asked, changed, unasked, partial, drifted, failed } = report;
  print(
    `${many(asked, 'decision')} replayed in ${(tookMs / 1_000).toFixed(1)} s: ${changed === 0n ? 'none' : changed.toLocaleString('en')} would be decided otherwise by ${short(revision)}`,
  );
  const aside: [bigint, string][] = [
    [unasked, 'decided without a policy'],
    [partial, 'not whole in the log (masked, sealed or too long), and not replayed'],
    [failed, 'at which the revision fails or runs out of fuel'],
    [drifted, "that the active revision no longer decides as it did: a fault of Mandate's"],
  ];
  for (const [count, what] of aside) if (count > 0n) print(`${many(count, 'record')} ${what}`);
  showChanges(report, tenant);
}

/** By what they have in common, and a few of each. */
export function showChanges(report: ReplayReport, tenant: string): void {
  if (report.changed === 0n) return;
  print('');
  printTable(
    ['COUNT', 'CHANGE', 'BY', 'NAME'],
    report.groups.map(({ count, change, by, name }) => [
      String(count),
      change,
      by.replaceAll('_', ' '),
      name,
    ]),
  );
  print('\nexamples, as the active revision is asked:');
  for (const each of report.examples)
    print(`\n# record ${each.index}: ${each.change}, ${each.rule}\n${questionOf(tenant, each)}`);
}

/** The same question; of one who acts for another the token is gone, and the record says all. */
function questionOf(tenant: string, each: ReplayExample): string {
  if (each.actors.length > 0) return `mandate audit explain ${each.index} -t ${tenant}`;
  const more = [
    ...(each.properties === '' ? [] : ['-p', quoted(each.properties)]),
    ...(each.context === '' ? [] : ['-c', quoted(each.context)]),
  ];
  const asked = ['-s', quoted(each.subject), '-a', quoted(each.action), '-r', quoted(each.resource), ...more];
  return `mandate check -t ${tenant} ${asked.join(' ')}`;
}

/** For a shell. */
const quoted = (text: string): string =>
  /^[\w:./@-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;

export const documentOf = ({ groups, examples, ...counts }: ReplayReport): object => ({
  replayed: counts.replayed,
  changed: counts.changed,
  unasked: counts.unasked,
  partial: counts.partial,
  drifted: counts.drifted,
  failed: counts.failed,
  groups: groups.map(({ change, by, name, count }) => ({ change, by, name, count })),
  examples: examples.map((each) => ({
    change: each.change,
    index: each.index,
    decision_id: each.decisionId,
    subject: each.subject,
    actors: each.actors,
    action: each.action,
    resource: each.resource,
    rule: each.rule,
    properties: each.properties === '' ? null : (JSON.parse(each.properties) as unknown),
    context: each.context === '' ? null : (JSON.parse(each.context) as unknown),
  })),
});
