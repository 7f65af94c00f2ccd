import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { buildInput, type InputParts } from '../../src/decision/input.ts';
import type { JsonObject } from '../../src/decision/request.ts';
import type { TenantId } from '../../src/ids.ts';
import type { PolicyInput } from '../../src/input.ts';
import { PolicyModule } from '../../src/policy/engine/module.ts';
import type { GrantRow } from '../../src/storage/rows.ts';
import { Facts } from '../../src/tenancy/facts.ts';
import { buildWasm, context, limits } from '../policy/engine/opa.ts';

const alice = new Facts(
  { class: 'user', id: 'alice' },
  'active',
  '"properties":{"clearance":2,"team":"é"},"groups":["staff"],"roles":[]',
);
const bot = new Facts(
  { class: 'agent', id: 'bot' },
  'disabled',
  '"properties":{},"groups":[],"roles":["helper"]',
);
const grant = {
  id: 'grant-1',
  scopes: ['read'],
  use: 'act',
  details: [{ type: 'tool_call', tools: ['search'] }],
  audience: 'https://files.example',
  moreAudiences: ['files'],
  mayAct: { class: 'agent', id: 'bot' },
  jkt: 'thumbprint',
  x5tS256: null,
  task: { id: 'task-1', purpose: 'why', endsAt: Date.UTC(2026, 0, 2) },
  depth: 1,
  expiresAt: Date.UTC(2026, 0, 1),
} as unknown as GrantRow;

const parts: InputParts = {
  now: Date.UTC(2026, 0, 1, 12, 30),
  tenant: 'acme' as TenantId,
  subject: alice,
  stated: undefined,
  actors: [],
  action: { name: 'document.read' },
  resource: { type: 'document', id: 'd-1' },
  context: undefined,
  authentication: undefined,
  grant: undefined,
};

describe('the policy input', () => {
  let module: PolicyModule;
  beforeAll(async () => {
    module = PolicyModule.compile(await buildWasm('package test\n\necho := input\n', ['test/echo']));
  });

  /** What a policy sees of it, which is to be what the record says. */
  const seen = (input: PolicyInput) => module.instantiate('{}', limits).evaluate('test/echo', input, context);

  test('is complete: what is not known is empty or null', () => {
    const input = buildInput(parts);
    expect(input.json).toBe(
      '{"now":"2026-01-01T12:30:00.000Z","tenant":{"id":"acme"},"subject":{"class":"user","type":"user","id":"alice",' +
        '"properties":{"clearance":2,"team":"é"},"groups":["staff"],"roles":[],"status":"active"},"actors":[],' +
        '"action":{"name":"document.read","properties":{}},"resource":{"type":"document","id":"d-1","properties":{}},' +
        '"context":{},"grant":null}',
    );
    expect(seen(input).result).toEqual(JSON.parse(input.json));
  });

  test('has the actors, the grant and what the caller stated, where the directory wins', () => {
    const input = buildInput({ ...parts, stated: { clearance: 9, device: 'phone' }, actors: [bot], grant });
    expect(seen(input).result).toEqual(JSON.parse(input.json));
    expect(JSON.parse(input.json)).toMatchObject({
      subject: { properties: { clearance: 2, device: 'phone', team: 'é' } },
      actors: [{ class: 'agent', id: 'bot', roles: ['helper'], status: 'disabled' }],
      grant: {
        id: 'grant-1',
        scope: ['read'],
        audience: 'https://files.example',
        audiences: ['https://files.example', 'files'],
        authorization_details: [{ type: 'tool_call', tools: ['search'] }],
        may_act: { class: 'agent', id: 'bot' },
        depth: 1,
        expires_at: '2026-01-01T00:00:00.000Z',
      },
    });
  });

  test('is in the record as the policy saw it, at the cost of a replay from there', () => {
    const object = fc.dictionary(
      fc.oneof(fc.string(), fc.constantFrom('__proto__', 'owner', '')),
      fc.jsonValue(),
      { maxKeys: 8 },
    ) as fc.Arbitrary<JsonObject>;
    const asked = fc.record({
      stated: fc.option(object, { nil: undefined }),
      actors: fc.subarray([alice, bot]),
      action: fc.record({ name: fc.string(), properties: object }),
      resource: fc.record({ type: fc.string(), id: fc.string({ unit: 'binary' }), properties: object }),
      context: object,
    });
    fc.assert(
      fc.property(asked, (given) => {
        const input = buildInput({ ...parts, ...given });
        const replayed = seen({ json: input.json, value: JSON.parse(input.json) });
        expect(seen(input)).toEqual(replayed);
        expect(replayed.result).toEqual(JSON.parse(input.json));
      }),
    );
  });
});
