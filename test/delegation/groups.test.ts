import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { authenticationIn } from '../../src/tenancy/authentication.ts';
import { at } from '../cli/run.ts';
import { trustIn } from '../e2e/issuer.ts';
import { claimsOf, connect } from '../e2e/requests.ts';
import { basic } from '../e2e/server.ts';
import { agent, Stage } from './stage.ts';

/** What an issuer says of a subject's groups and roles, by the claims that the tenant names. */

const groupsIn = (claims: Record<string, unknown>, ...path: string[]): unknown =>
  authenticationIn(claims, 0, { groups_claim: path }).groups;

describe('the claim that is named', () => {
  test.each<[string, string[], object]>([
    ['by its name', ['groups'], { groups: ['finance', 'staff'] }],
    ['within another', ['realm_access', 'roles'], { realm_access: { roles: ['finance', 'staff'] } }],
    ['with a dot in it', ['https://a.example/groups'], { 'https://a.example/groups': ['finance', 'staff'] }],
    ['with one that stands twice', ['groups'], { groups: ['finance', 'staff', 'finance'] }],
  ])('is read %s', (_how, path, claims) => {
    expect(groupsIn(claims as Record<string, unknown>, ...path)).toEqual(['finance', 'staff']);
  });

  test.each<[string, string[], object]>([
    ['is not there', ['groups'], {}],
    ['is not there, nor what it is in', ['realm_access', 'roles'], {}],
    ['is only inherited', ['constructor', 'name'], {}],
  ])('says that there are none where it %s', (_what, path, claims) => {
    expect(groupsIn(claims as Record<string, unknown>, ...path)).toEqual([]);
  });

  test.each<[string, unknown]>([
    ['a text', 'finance'],
    ['null', null],
    ['an object', { 0: 'finance' }],
    ['a list with a number', ['finance', 1]],
    ['a list with an empty name', ['finance', '']],
    ['a name that is too long', ['x'.repeat(257)]],
    ['too many', Array.from({ length: 201 }, String)],
    ['too much', Array.from({ length: 100 }, (_, no) => String(no).padEnd(100, 'x'))],
  ])('is refused where it is %s, since a policy may deny by it', (_what, groups) => {
    expect(() => groupsIn({ groups }, 'groups')).toThrow(expect.objectContaining({ code: 'token_invalid' }));
  });

  test('is refused where the way to it leads through what is no object', () => {
    for (const realm of ['x', null, ['roles'], 1])
      expect(() => groupsIn({ realm }, 'realm', 'roles')).toThrow(
        expect.objectContaining({ code: 'token_invalid' }),
      );
  });
});

describe('in a decision', () => {
  let stage: Stage;
  const REGO = `package authz

import data.mandate.lib

deny contains {"code": "contractor", "message": "not for contractors"} if lib.in_issuer_group("contractors")

deny contains {"code": "no_auditor", "message": "for auditors"} if {
	input.action.name == "document.audit"
	not lib.has_issuer_role("auditor")
}

reasons contains {"code": "saw", "message": json.marshal(object.get(input.context, "authentication", null))}
`;
  const DELEGATION = `package delegation

import data.mandate.lib

deny contains "temporary" if lib.in_issuer_group("temporary")
`;
  const said = { groups: ['staff', 'finance'], realm: { roles: ['auditor'] } };
  const seen = { groups: ['staff', 'finance'], roles: ['auditor'] };

  beforeAll(async () => {
    stage = await Stage.open({
      acmeFiles: { 'authz/saw.rego': REGO, 'delegation/saw.rego': DELEGATION },
      acme: (manifest) => {
        const [trusted] = manifest.issuers ?? [];
        manifest.issuers = [{ ...trusted, groups_claim: 'groups', roles_claim: ['realm', 'roles'] }] as never;
      },
    });
  });
  afterAll(() => stage[Symbol.asyncDispose]());

  const saw = ({ reasons = [] }: { reasons?: { code: string; message?: string }[] }): unknown =>
    JSON.parse(reasons.find(({ code }) => code === 'saw')?.message ?? '"nothing"');

  test('stands what the token says, for its bearer and for whom it is delegated to', async () => {
    const token = await stage.issuer.sign(said);
    expect(saw(await stage.check(token))).toEqual(seen);
    const { body } = await stage.exchange(token);
    expect(saw(await stage.check(body.access_token))).toEqual(seen);
    const again = await stage.exchange(body.access_token);
    expect(saw(await stage.check(again.body.access_token))).toEqual(seen);
  });

  test('is in no token, and told to nobody who introspects one', async () => {
    const { body } = await stage.exchange(await stage.issuer.sign(said));
    const { body: told } = await connect(
      stage.server.data,
      'DelegationService/Introspect',
      { tenant: 'acme', token: body.access_token },
      basic(agent.id, agent.secret),
    );
    for (const each of [claimsOf(body.access_token), await stage.introspect(body.access_token), told])
      expect(JSON.stringify(each)).not.toMatch(/groups|roles|finance|auditor/);
  });

  test('denies by what the token says, in a decision and in an exchange', async () => {
    const contractor = await stage.issuer.sign({ groups: ['contractors'] });
    expect((await stage.check(contractor)).reasons).toContainEqual(
      expect.objectContaining({ code: 'contractor' }),
    );
    const temporary = await stage.exchange(await stage.issuer.sign({ groups: ['temporary'] }));
    expect(temporary.body.error_description).toContain('temporary');
  });

  test('is denied where what it says cannot be read', async () => {
    const token = await stage.issuer.sign({ groups: 'contractors' });
    expect(await stage.check(token)).toMatchObject({
      decision: 'DECISION_DENY',
      reasons: [{ code: 'token_invalid' }],
    });
    expect((await stage.exchange(token)).status).toBe(400);
  });

  test('says that there are none of a token that does not say', async () => {
    expect(saw(await stage.check(await stage.issuer.sign()))).toEqual({ groups: [], roles: [] });
  });

  test('an issuer is put with them from a file as it is from tenant.yaml, and a token tried', async () => {
    const run = at(stage.server);
    const file = path.join(stage.server.folder, 'login.yaml');
    const trusted = { ...trustIn(stage.issuer.url), groups_claim: 'groups', roles_claim: ['realm', 'roles'] };
    await writeFile(file, JSON.stringify(trusted));
    const put = await run('issuer', 'put', '-t', 'globex', file);
    expect(put).toMatchObject({ code: 0, stderr: '' });
    const listed = await run('--json', 'issuer', 'list', '-t', 'globex');
    expect(JSON.parse(listed.stdout)).toMatchObject([
      { groups_claim: ['groups'], roles_claim: ['realm', 'roles'] },
    ]);
    const token = await stage.issuer.sign(said);
    const tried = await run('issuer', 'test', '-t', 'globex', stage.issuer.url, '--token', token);
    expect(tried.stdout).toMatch(/groups +staff, finance\nroles +auditor/);
    const wrong = await stage.issuer.sign({ groups: 'staff' });
    const refused = await run('issuer', 'test', '-t', 'globex', stage.issuer.url, '--token', wrong);
    expect(refused).toMatchObject({ code: 1 });
    expect(refused.stdout).toContain('the claim groups of the token is no list');
  });
});
