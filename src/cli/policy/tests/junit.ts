import path from 'node:path';
import { formatDiagnostic } from '../../../policy/diagnostics.ts';
import { leavesOf } from '../../../policy/testing/cases.ts';
import type { Judged } from '../../../policy/testing/judgement.ts';
import { outcomeOf } from '../../../policy/testing/report.ts';
import { describeError, type Ran } from './ran.ts';

/** The report in the XML of JUnit, as continuous integration reads it: a suite a folder, a case a test. */
export function junitOf(results: ReadonlyMap<string, Ran>): string {
  const suites = [...results].map(([folder, ran]) => suiteOf(folder, ran));
  return `<?xml version="1.0" encoding="UTF-8"?>\n<testsuites>\n${suites.join('')}</testsuites>\n`;
}

function suiteOf(folder: string, ran: Ran): string {
  const cases = 'tests' in ran ? ran.tests.map((test) => caseOf(folder, test)) : [brokenOf(ran)];
  const count = (element: string): number => cases.filter((each) => each.includes(`<${element}`)).length;
  const tests = 'tests' in ran ? ran.tests : [];
  const seconds = tests.reduce((sum, { duration }) => sum + duration, 0) / 1e9;
  const counts = `tests="${cases.length}" failures="${count('failure')}" errors="${count('error')}" skipped="${count('skipped')}"`;
  return `  <testsuite name="${attribute(folder)}" ${counts} time="${seconds.toFixed(6)}">\n${cases.join('')}  </testsuite>\n`;
}

function caseOf(folder: string, test: Judged): string {
  const { location, package: of, name, duration, output } = test;
  const file = path.join(folder, location.file.replace(/^tenant\//, ''));
  const head = `<testcase classname="${attribute(of)}" name="${attribute(name)}" file="${attribute(file)}" line="${location.row}" time="${(duration / 1e9).toFixed(6)}"`;
  const printed =
    output === undefined || output === ''
      ? ''
      : `      <system-out>${text(Buffer.from(output, 'base64').toString('utf8'))}</system-out>\n`;
  const outcome = outcomeIn(test);
  return outcome + printed === '' ? `    ${head}/>\n` : `    ${head}>\n${outcome}${printed}    </testcase>\n`;
}

function outcomeIn(test: Judged): string {
  const { error, differs, unmet = [], sub_results: cases = {} } = test;
  switch (outcomeOf(test)) {
    case 'PASS':
      return '';
    case 'SKIPPED':
      return '      <skipped/>\n';
    case 'ERROR':
      return element('error', `${error?.code}: ${error?.message}`, error?.detail ?? '');
    case 'FAIL': {
      const failed = [...leavesOf(cases)].filter(({ fail }) => fail).map(({ names }) => names.join('/'));
      if (differs)
        return element(
          'failure',
          "the engine that serves and OPA's evaluator disagree, a fault of Mandate's",
          `engine: ${differs.engine}\nOPA: ${differs.opa}`,
        );
      return element('failure', unmet[0] ?? 'it is not true', [...unmet, ...failed].join('\n'));
    }
  }
}

/** What did not come to run is one case that did not. */
function brokenOf(ran: Exclude<Ran, { tests: unknown }>): string {
  const why =
    'error' in ran
      ? describeError(ran.error)
      : 'refused' in ran
        ? ran.refused
        : ran.invalid.map(formatDiagnostic).join('\n');
  return `    <testcase classname="policy" name="compiles">\n${element('error', why.split('\n')[0] ?? '', why)}    </testcase>\n`;
}

const element = (name: 'error' | 'failure', message: string, body: string): string =>
  `      <${name} message="${attribute(message)}">${text(body)}</${name}>\n`;

/** XML 1.0 section 2.2: what no document may hold, escaped or not. */
const IMPOSSIBLE = /[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu;
const ENTITIES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };

const text = (raw: string): string =>
  raw
    .replace(IMPOSSIBLE, (each) => `\\u${each.charCodeAt(0).toString(16).padStart(4, '0')}`)
    .replace(/[&<>"]/g, (each) => ENTITIES[each] ?? each)
    // A reader would make a line's end of it.
    .replace(/\r/g, '&#13;');

/** Section 3.3.3: a reader makes spaces of these in attributes. */
const attribute = (raw: string): string => text(raw).replace(/[\t\n]/g, (each) => `&#${each.charCodeAt(0)};`);
