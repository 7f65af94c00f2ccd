import { writeFileSync } from 'node:fs';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { Command } from 'commander';
import { readRecord } from '../../audit/read.ts';
import { type Report, Reporter, type Use } from '../../audit/report/report.ts';
import { systemClock } from '../../effects.ts';
import { AuditService } from '../../gen/mandate/v1/audit_pb.ts';
import { clientOf } from '../client.ts';
import { type GlobalOptions, globalsOf, print, printJson, printTable, warn } from '../terminal/output.ts';
import { Progress } from '../terminal/progress.ts';
import { moment, wholeNumber } from '../terminal/values.ts';

interface ReportOptions {
  readonly tenant: string;
  readonly since: string;
  readonly until?: string;
  readonly dormant: number;
  readonly limit: number;
  readonly html?: string;
}

export const reportCommand = (): Command =>
  new Command('report')
    .description(
      'what the records of a time say together: use of agents and grants, denials, who is not seen any more',
    )
    .requiredOption('-t, --tenant <id>', 'the tenant')
    .option('--since <time>', 'an RFC 3339 time, or an age such as 7d', '30d')
    .option('--until <time>', 'the same')
    .option('--dormant <days>', 'who was not seen for so many days', wholeNumber(1), 14)
    .option('-n, --limit <count>', 'at most this many records, the newest', wholeNumber(1), 1_000_000)
    .option('--html <file>', 'one page with charts, that needs nothing else, instead of tables')
    .addHelpText('after', '\nExample:\n  $ mandate audit report -t acme --since 90d --html acme.html\n')
    .action(async (options: ReportOptions, command: Command) => {
      const globals = globalsOf(command);
      const report = await reportOf(globals, options);
      if (options.html !== undefined) {
        const { reportPage } = await import('../../audit/report/html.ts');
        writeFileSync(options.html, reportPage(report), { mode: 0o600 });
        print(`${options.html}: ${report.records} records`);
      } else if (globals.json) printJson(report);
      else tell(report);
    });

async function reportOf(
  globals: GlobalOptions,
  { tenant, since, until, dormant, limit }: ReportOptions,
): Promise<Report> {
  const client = clientOf(AuditService, 'admin', globals);
  const now = systemClock();
  const reporter = new Reporter();
  const filter = {
    tenant,
    since: timestampFromMs(moment(since, now)),
    ...(until === undefined ? {} : { until: timestampFromMs(moment(until, now)) }),
  };
  using progress = new Progress('records');
  let [seen, pageToken] = [0, ''];
  do {
    const page = await client.query({ ...filter, pageSize: Math.min(1_000, limit - seen), pageToken });
    for (const { index, body } of page.records) reporter.add(readRecord({ index: Number(index), body }));
    seen += page.records.length;
    progress.tell(seen, limit);
    pageToken = page.nextPageToken;
  } while (pageToken !== '' && seen < limit);
  progress[Symbol.dispose]();
  if (pageToken !== '') warn(`mandate: only the newest ${limit} records were looked at; --limit takes more`);
  return reporter.report(tenant, dormant);
}

const at = (time: number): string => (time === 0 ? 'never' : new Date(time).toISOString());
const used = ({ name, allowed, denied, last }: Use): string[] => [
  name,
  String(allowed),
  String(denied),
  at(last),
];

function tell(report: Report): void {
  const { records, from, to } = report;
  print(`${records} records${records === 0 ? '' : ` from ${at(from)} to ${at(to)}`}`);
  const section = (head: readonly string[], rows: readonly (readonly string[])[]): void => {
    if (rows.length === 0) return;
    print('');
    printTable(head, rows);
  };
  section(
    ['RECORDS', 'COUNT'],
    report.outcomes.map(({ name, count }) => [name, String(count)]),
  );
  section(
    ['DENIED FOR', 'COUNT'],
    report.denials.map(({ name, count }) => [name, String(count)]),
  );
  section(['AGENT', 'ALLOWED', 'DENIED', 'LAST'], report.agents.map(used));
  section(
    ['GRANT', 'AGENT', 'FOR', 'ALLOWED', 'DENIED', 'LAST USED'],
    report.grants.map(({ name, actor, subject, allowed, denied, last }) => [
      name,
      actor || '-',
      subject || '-',
      String(allowed),
      String(denied),
      at(last),
    ]),
  );
  section(['CALLER', 'ALLOWED', 'DENIED', 'LAST'], report.callers.map(used));
  section(
    ['NOT SEEN OF LATE', 'LAST'],
    report.dormant.map(({ principal, last }) => [principal, at(last)]),
  );
  section(
    ['NOT ASKED FOR OF LATE', 'ACTION', 'LAST'],
    report.unused.map(({ principal, action, last }) => [principal, action, at(last)]),
  );
}
