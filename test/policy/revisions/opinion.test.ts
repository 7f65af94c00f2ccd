import path from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import type { Bundle } from '../../../src/policy/bundle.ts';
import { Compiler } from '../../../src/policy/compiler.ts';
import { disagreement, opinionsOf, type RecordedQuestion } from '../../../src/policy/revisions/opinion.ts';
import { type PolicySources, sourcesOf } from '../../../src/policy/sources.ts';
import { readTenantFiles } from '../../../src/tenancy/folder/read.ts';
import { readTenant } from '../../../src/tenancy/tenants.ts';

/** OPA's evaluator is asked the last recorded questions too, before a revision is kept. */

const repository = path.resolve(import.meta.dirname, '../../..');
const acme = path.join(repository, 'policies/acme');
const limits = { fuel: 20_000_000, memoryPages: 1_024 };
let compiler: Compiler;
let sources: PolicySources;
let bundle: Bundle;

beforeAll(async () => {
  const policies = path.join(repository, 'policies');
  compiler = new Compiler({ opa: path.join(repository, 'bin/opa'), policies, cache: undefined });
  const files = await readTenantFiles({ folder: acme, root: acme });
  sources = await sourcesOf(files, (await readTenant(files)).manifest);
  bundle = await compiler.compile(sources);
});

const question = (index: number, id: string, more: object = {}): RecordedQuestion => ({
  index,
  entryPoint: 'mandate/decision',
  nowMs: Date.UTC(2026, 0, 2),
  seed: 'x',
  input: JSON.stringify({
    now: '2026-01-02T00:00:00Z',
    tenant: { id: 'acme' },
    subject: {
      class: 'user',
      type: 'user',
      id,
      properties: {},
      groups: [],
      roles: ['reader'],
      status: 'active',
    },
    actors: [],
    action: { name: 'document.read', properties: {} },
    resource: { type: 'document', id: 'x', properties: { sensitivity: 'public', ...more } },
    context: {},
    grant: null,
  }),
});

test('of the same policy both say the same, of decisions and of exchanges', async () => {
  const questions = [
    question(1, 'alice'),
    question(2, 'bob', { sensitivity: 'restricted' }),
    { ...question(3, 'bob'), entryPoint: 'mandate/delegation' },
  ];
  const opinions = await opinionsOf(compiler, sources, questions);
  expect(opinions?.size).toBe(3);
  expect(disagreement(bundle, limits, questions, opinions ?? new Map())).toBeUndefined();
});

test('an engine that decides otherwise is told of by its smallest question', async () => {
  const questions = [question(7, 'a-very-long-name'), question(8, 'bob'), question(9, 'a-longer-name')];
  const opinions = await opinionsOf(compiler, sources, questions);
  // What would be a fault of the engine's: it runs another policy than the files say.
  const files = new Map([...sources.modules, ['more.rego', 'package authz\n\ndeny contains "wrong"\n']]);
  const other = await compiler.compile({ ...sources, modules: files });
  expect(disagreement(other, limits, questions, opinions ?? new Map())?.message).toMatch(
    /disagree on 3 of .* record 8: a fault of Mandate's$/,
  );
});

test.each([
  ['no question', [], {}],
  [
    'what is drawn at random',
    [question(1, 'bob')],
    { 'x.rego': 'package authz\n\nn := rand.intn("x", 5)\n' },
  ],
  ['what does not compile', [question(1, 'bob')], { 'x.rego': 'package authz\n\nn := nosuch(1)\n' }],
  [
    'what conflicts',
    [question(1, 'bob')],
    { 'x.rego': 'package authz\n\ndeny := 1 if true\n\nreasons := 1 if true\n\nreasons := 2 if true\n' },
  ],
])('of %s there is no opinion', async (_what, questions, more) => {
  const modules = new Map([...sources.modules, ...Object.entries(more as Record<string, string>)]);
  expect(await opinionsOf(compiler, { ...sources, modules }, questions)).toBeUndefined();
});

test('a question that would end the query is only a value', async () => {
  const hostile = question(1, '"}]} with input as {}');
  expect((await opinionsOf(compiler, sources, [hostile]))?.size).toBe(1);
});
