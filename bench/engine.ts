import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { PolicyModule } from '../src/policy/engine/module.ts';

/**
 * evaluate() of our engine, metered and not, beside @open-policy-agent/opa-wasm on the same policy.
 * Prints ratios of medians over interleaved rounds, so that a noisy machine disturbs all alike.
 */
const policy = `package authz

default allow := false

allow if {
  some role in input.subject.roles
  some permission in data.roles[role]
  permission.action == input.action.name
  startswith(input.resource.id, permission.prefix)
}

allow if input.subject.id == input.resource.owner
`;

const data = {
  roles: {
    reader: [{ action: 'read', prefix: 'doc:' }],
    writer: [
      { action: 'read', prefix: 'doc:' },
      { action: 'write', prefix: 'doc:draft:' },
    ],
    admin: [{ action: 'delete', prefix: '' }],
  },
};

const input = {
  now: '2026-01-01T00:00:00Z',
  tenant: { id: 'acme' },
  subject: { class: 'user', type: 'user', id: 'u-1', roles: ['reader', 'writer'], properties: { team: 'a' } },
  actors: [],
  action: { name: 'write', properties: {} },
  resource: { type: 'document', id: 'doc:draft:17', owner: 'u-2', properties: {} },
  context: { ip: '192.0.2.1' },
  grant: null,
};

const rounds = 201;
const perRound = 1_000;

function build(): Uint8Array {
  const folder = mkdtempSync(join(tmpdir(), 'mandate-bench-'));
  try {
    writeFileSync(join(folder, 'policy.rego'), policy);
    const bundle = join(folder, 'bundle.tar.gz');
    const opa = process.env['MANDATE_OPA'] ?? 'bin/opa';
    execFileSync(opa, [
      'build',
      '-t',
      'wasm',
      '-e',
      'authz/allow',
      '-o',
      bundle,
      join(folder, 'policy.rego'),
    ]);
    return extract(gunzipSync(readFileSync(bundle)), 'policy.wasm');
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** One file of a tar archive: 512-byte headers, the size in octal at 124. */
function extract(tar: Buffer, name: string): Uint8Array {
  for (let at = 0; at < tar.length; ) {
    const path = tar.toString('utf8', at, tar.indexOf(0, at)).replace(/^\//, '');
    const size = Number.parseInt(tar.toString('latin1', at + 124, at + 136), 8) || 0;
    if (path === name) return Uint8Array.from(tar.subarray(at + 512, at + 512 + size));
    at += 512 + Math.ceil(size / 512) * 512;
  }
  throw new Error(`${name} is not in the bundle`);
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
}

// Its types and its ES module disagree about the exports; the CommonJS one is as typed.
const { loadPolicySync } = createRequire(import.meta.url)(
  '@open-policy-agent/opa-wasm',
) as typeof import('@open-policy-agent/opa-wasm');

const wasm = build();
const limits = { fuel: 100_000_000, memoryPages: 256 };
const context = { nowMs: 0, seed: 'bench' };
const ours = PolicyModule.compile(wasm).instantiate(JSON.stringify(data), limits);
const unmetered = PolicyModule.compileUnmetered(wasm).instantiate(JSON.stringify(data), limits);
const theirs = loadPolicySync(Uint8Array.from(wasm).buffer, 16);
theirs.setData(data);

const contenders = {
  // From a value to a decision in all three: the caller's JSON.stringify is part of the work.
  'ours, metered': () => ours.evaluate('authz/allow', JSON.stringify(input), context).result,
  'ours, unmetered': () => unmetered.evaluate('authz/allow', JSON.stringify(input), context).result,
  'opa-wasm': () => (theirs.evaluate(input) as { result: unknown }[])[0]?.result,
};

const times = new Map<string, number[]>();
for (let round = -10; round < rounds; round += 1) {
  for (const [name, evaluate] of Object.entries(contenders)) {
    const start = performance.now();
    for (let call = 0; call < perRound; call += 1)
      if (evaluate() !== true) throw new Error(`${name} is wrong`);
    const micros = ((performance.now() - start) * 1000) / perRound;
    if (round >= 0) times.set(name, [...(times.get(name) ?? []), micros]);
  }
}

const medians = new Map([...times].map(([name, values]) => [name, median(values)]));
for (const [name, micros] of medians) console.log(`${name.padEnd(16)} ${micros.toFixed(2)} µs`);
/** The median of the rounds' ratios: both sides of each were measured within milliseconds of each other. */
function ratio(a: keyof typeof contenders, b: keyof typeof contenders): string {
  const base = times.get(b) ?? [];
  return median((times.get(a) ?? []).map((micros, round) => micros / (base[round] ?? Number.NaN))).toFixed(3);
}
console.log(`metered / unmetered   ${ratio('ours, metered', 'ours, unmetered')}`);
console.log(`ours metered / opa-wasm ${ratio('ours, metered', 'opa-wasm')}`);
console.log(
  `cost of one evaluation ${ours.evaluate('authz/allow', JSON.stringify(input), context).cost} units`,
);
