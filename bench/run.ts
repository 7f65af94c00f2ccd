import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { Peers } from './peers/peers.ts';
import { textTable, writeReport } from './report.ts';
import type { Bench, Row, RowGroup } from './row.ts';
import { acceptingRows } from './rows/accepting.ts';
import { engineRows } from './rows/engine.ts';
import { fleetRows } from './rows/fleet.ts';
import { grantRows } from './rows/grants.ts';
import { growthRows } from './rows/growth.ts';
import { latencyRows } from './rows/latency.ts';
import { logRows } from './rows/log.ts';
import { neighbourRows } from './rows/neighbour.ts';
import { policyRows } from './rows/policy.ts';
import { queryRows } from './rows/queries.ts';
import { sinkRows } from './rows/sinks.ts';
import { startRows } from './rows/start.ts';
import { throughputRows } from './rows/throughput.ts';
import { tokenRows } from './rows/tokens.ts';
import { transportRows } from './rows/transport.ts';
import { assertAgreement } from './scenario/agreement.ts';

/**
 * `node bench/run.ts [row names or their beginnings...]`: measures, prints a table, and writes bench/results.json when
 * all rows were measured. BENCH_QUICK=1 makes it a smoke run, whose figures mean nothing.
 */
const groups: readonly RowGroup[] = [
  startRows,
  transportRows,
  acceptingRows,
  throughputRows,
  latencyRows,
  engineRows,
  growthRows,
  logRows,
  queryRows,
  policyRows,
  grantRows,
  tokenRows,
  sinkRows,
  fleetRows,
  neighbourRows,
];

const quick = process.env['BENCH_QUICK'] === '1';
const asked = process.argv.slice(2);
const all = groups.flatMap((group) => group.names);
const wanted = new Set(
  all.filter((name) => asked.length === 0 || asked.some((prefix) => name.startsWith(prefix))),
);

const began = performance.now();
const say = (line: string): void => {
  const seconds = Math.round((performance.now() - began) / 1000);
  console.log(`${String(seconds).padStart(4)} s  ${line}`);
};

for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.once(signal, () => {
    cleanUp();
    process.exit(1);
  });

const folder = mkdtempSync(path.join(os.tmpdir(), 'mandate-bench-'));
const cleanUp = (): void => rmSync(folder, { recursive: true, force: true });

try {
  const rows = await measure();
  console.log(`\n${textTable(rows)}\n`);
  for (const { name, note } of rows) if (note) console.log(`${name}: ${note}`);
  if (rows.length === all.length && !quick) {
    writeReport(rows);
    say('wrote bench/results.json');
  }
} finally {
  cleanUp();
}

async function measure(): Promise<Row[]> {
  if (wanted.size === 0) throw new Error(`no such rows; there are ${all.join(', ')}`);
  await using peers = new Peers(folder);
  const bench: Bench = {
    folder,
    quick,
    rounds: quick ? 1 : 3,
    tries: quick ? 1 : 2,
    seconds: quick ? 1 : 3,
    peers,
    say,
  };
  say(`${os.cpus().length} cores, ${os.cpus()[0]?.model ?? ''}, load ${os.loadavg()[0]?.toFixed(2)}`);
  if ([...wanted].some((name) => name.includes('_vs_'))) {
    const agreed = await assertAgreement(peers);
    say(`all contenders agree on ${agreed.asked} questions and allow ${agreed.allowed} of them`);
  }
  const rows: Row[] = [];
  for (const group of groups)
    if (group.names.some((name) => wanted.has(name))) {
      try {
        const measured = await group.measure(bench, wanted);
        rows.push(...measured.filter(({ name }) => wanted.has(name)));
      } catch (error) {
        // What the others tell is still worth having.
        process.exitCode = 1;
        console.error(`${group.names.join(', ')}:`, error);
      }
    }
  return rows;
}
