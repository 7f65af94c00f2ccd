/** Checks that imports point one way: see `ranks`. Exits 1 and names each import that does not. */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

/** A folder of src/ may import those of a lower rank, and itself. */
const ranks: Readonly<Record<string, number>> = {
  'bounded-body.ts': 0,
  'errors.ts': 0,
  'effects.ts': 0,
  'time.ts': 0,
  'generations.ts': 0,
  'turns.ts': 0,
  'ids.ts': 0.5,
  'verdict.ts': 0.5,
  'input.ts': 0,
  gen: 0,
  http2: 0,
  merkle: 0,
  storage: 1,
  audit: 2,
  tenancy: 3,
  policy: 4,
  decision: 4.5,
  delegation: 6,
  explaining: 6.5,
  fleet: 6.7,
  server: 7,
  telemetry: 7,
  'config.ts': 8,
  'settings.ts': 8.2,
  assembly: 8.4,
  'assembly.ts': 8.5,
  'main.ts': 9,
  'decision-thread.ts': 9,
  'accepting-thread.ts': 9,
  'sinks-thread.ts': 9,
  'shipping-thread.ts': 9,
  'receiving-thread.ts': 9,
  'volumes-thread.ts': 9,
  'shadow-thread.ts': 9,
  'replay-thread.ts': 9,
  cli: 10,
};

/** decision/ knows policies only as an interface; policy/ does not know decision/. */
const strangers: readonly (readonly [string, string])[] = [
  ['decision', 'policy'],
  ['telemetry', 'server'],
  // It knows nothing of Mandate.
  ['http2', 'errors.ts'],
  ['http2', 'effects.ts'],
  ['merkle', 'errors.ts'],
  ['merkle', 'effects.ts'],
];

const src = path.resolve(import.meta.dirname, '..', 'src');
const wrong: string[] = [];
const files = readdirSync(src, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'));
for (const file of files) {
  const text = readFileSync(path.join(src, file), 'utf8');
  for (const [, specifier = ''] of text.matchAll(/(?:from|import)\s+'(\.[^']+)'/g)) {
    const target = path.relative(src, path.resolve(src, path.dirname(file), specifier));
    const [from = '', to = ''] = [file.split(path.sep)[0], target.split(path.sep)[0]];
    const [low, high] = [ranks[to], ranks[from]];
    if (low === undefined || high === undefined)
      wrong.push(`${file}: no rank for ${low === undefined ? to : from}`);
    else if (from !== to && low >= high && !(from === to)) wrong.push(`${file} imports ${target}`);
    else if (strangers.some(([one, other]) => from === one && to === other))
      wrong.push(`${file} imports ${target}`);
    if (/process\.env/.test(text) && !['config.ts', 'cli'].includes(from))
      wrong.push(`${file} reads process.env`);
  }
}
if (wrong.length > 0) {
  process.stderr.write(`imports that point the wrong way:\n  ${[...new Set(wrong)].join('\n  ')}\n`);
  process.exitCode = 1;
} else process.stdout.write(`imports point one way (${files.length} files)\n`);
