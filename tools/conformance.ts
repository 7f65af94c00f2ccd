import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { runBare } from '../test/policy/engine/conformance/bare.ts';
import { loadCases, locateCases } from '../test/policy/engine/conformance/cases.ts';
import { runOurs } from '../test/policy/engine/conformance/engine.ts';
import { type Figures, figuresOf, type Verdict } from '../test/policy/engine/conformance/running.ts';
import { opaBinary } from '../test/policy/engine/opa.ts';

/**
 * Runs OPA's own conformance cases, those of before Rego 1 too, by our engine and by the stock npm host
 * (`@open-policy-agent/opa-wasm`), and writes the figures to `conformance.json`.
 */
const located = locateCases();
if ('reason' in located) {
  process.stderr.write(`the cases are not there: ${located.reason}\n`);
  process.exit(1);
}
const cases = loadCases(located.folder);
const opa = /^Version: (\S+)/m.exec(execFileSync(opaBinary, ['version'], { encoding: 'utf8' }))?.[1];
const say = (line: string): boolean => process.stdout.write(`${line}\n`);

const lineOf = (name: string, { total, passed, failed, refused }: Figures): string =>
  `${name.padEnd(10)} ${total} cases: ${passed} passed, ${failed} failed, ${refused} refused by design`;

function tell(name: string, verdicts: readonly Verdict[]): Figures {
  const figures = figuresOf(verdicts);
  say(lineOf(name, figures));
  return figures;
}

say(`OPA ${opa}`);
const verdicts = await runOurs(cases);
const ours = tell('ours', verdicts);
for (const { note, problem } of verdicts.filter(({ outcome }) => outcome === 'failed'))
  say(`  failed: ${note}: ${problem}`);
const wanted = verdicts.flatMap(({ outcome, problem = '' }) => (outcome === 'refused' ? [problem] : []));
for (const [name, of] of Map.groupBy(wanted, (each) => each)) say(`  refused: ${name} (${of.length})`);
const bare = tell('opa-wasm', await runBare(cases));
writeFileSync('conformance.json', `${JSON.stringify({ opa, ours, bare }, undefined, 2)}\n`);
