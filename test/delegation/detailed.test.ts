import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { at } from '../cli/run.ts';
import { check, claimsOf, connect, form, request, tokenReads } from '../e2e/requests.ts';
import { basic, bearer } from '../e2e/server.ts';
import { agent, globexAgent, mcp, refusalOf, Stage } from './stage.ts';

/** RFC 9396 through the endpoints: asked for, granted, introspected, decided on, recorded. */

let stage: Stage;

const REGO = `package authz

deny contains "tool_not_granted" if {
	count(input.grant.authorization_details) > 0
	not input.resource.properties.tool in input.grant.authorization_details[0].tools
}
`;

beforeAll(async () => {
  stage = await Stage.open({
    acme: (manifest) => {
      manifest.audit = { sealed: [{ path: '/grant/authorization_details' }] };
    },
    acmeFiles: { 'authz/tools.rego': REGO },
  });
});
afterAll(() => stage[Symbol.asyncDispose]());

const call = (members: object = {}) => ({
  type: 'tool_call',
  server: 'docs-mcp',
  tools: ['search', 'read'],
  max_calls: 5,
  ...members,
});

const asked = (...details: unknown[]) => ({ authorization_details: JSON.stringify(details) });

const exchange = async (details: unknown[]) => stage.exchange(await stage.issuer.sign(), asked(...details));

const invalid = {
  status: 400,
  error: 'invalid_authorization_details',
  code: 'invalid_authorization_details',
};

describe('RFC 9396: authorization details', () => {
  test('section 7: are in the answer, the token and introspection as they were granted', async () => {
    const { body } = await exchange([call()]);
    expect(body).toMatchObject({ authorization_details: [call()] });
    expect(claimsOf(body.access_token)).toMatchObject({ authorization_details: [call()] });
    expect(await stage.introspect(body.access_token)).toMatchObject({ authorization_details: [call()] });
  });

  test('are not there where none were granted', async () => {
    const { body } = await stage.exchange(await stage.issuer.sign());
    expect(body).not.toHaveProperty('authorization_details');
    expect(claimsOf(body.access_token)).not.toHaveProperty('authorization_details');
    expect(await stage.introspect(body.access_token)).not.toHaveProperty('authorization_details');
  });

  test('are seen by the policy of each decision', async () => {
    const { body } = await exchange([call({ tools: ['search'] })]);
    const reads = (tool: string) => {
      const asks = tokenReads(body.access_token);
      const resource = { ...asks.resource, properties: { ...asks.resource.properties, tool } };
      return check(stage.server.data, { ...asks, resource }, bearer(mcp.secret));
    };
    expect((await reads('search')).body.decision).toBe('DECISION_ALLOW');
    expect((await reads('read')).body).toMatchObject({
      decision: 'DECISION_DENY',
      reasons: [{ code: 'tool_not_granted' }],
    });
  });

  test('section 5: what is malformed, unknown or beyond the ceiling is refused, and names what is wrong', async () => {
    const cases: [string, string][] = [
      [JSON.stringify([call({ tools: ['search', 'delete'] })]), 'beyond the ceiling'],
      [JSON.stringify([{ ...call(), max_calls: undefined }]), 'beyond the ceiling'],
      [JSON.stringify([call({ server: 'other' })]), 'beyond the ceiling'],
      [JSON.stringify([call(), call({ max_calls: 21 })]), 'authorization_details[1]'],
      [JSON.stringify([{ type: 'payment' }]), 'does not declare: payment'],
      [JSON.stringify([call({ locations: [] })]), 'does not declare: locations'],
      [JSON.stringify(call()), 'no JSON array'],
      ['tool_call', 'not sound JSON'],
      ['[{"type":"tool_call","type":"tool_call"}]', 'a member stands twice'],
      ['[{"type":"tool_call","max_calls":0.12345678901234567890123}]', 'not sound JSON'],
    ];
    for (const [text, message] of cases) {
      const answer = await stage.exchange(await stage.issuer.sign(), { authorization_details: text });
      expect(refusalOf(answer), text).toEqual(invalid);
      expect(answer.body.error_description?.replaceAll("'", '"'), text).toContain(message);
    }
    const [record] = await stage.records({ kind: 'exchange' });
    expect(record).toMatchObject({
      outcome: 'deny',
      reasons: [{ code: 'invalid_authorization_details' }],
    });
  });

  test('of a tenant that declares no type are refused', async () => {
    const issued = await form(
      stage.server.data,
      'token',
      {
        grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
        subject_token: await devToken('globex'),
        subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
        audience: 'tools-mcp',
        scope: 'docs.read',
        ...asked(call()),
      },
      globexAgent,
      'globex',
    );
    expect(refusalOf(issued)).toEqual(invalid);
  });

  test('a child keeps those that it does not ask for, and gets none that are wider', async () => {
    const first = (await exchange([call()])).body.access_token;
    const kept = await stage.exchange(first, { audience: 'docs-api' }, mcp);
    expect(kept.body).toMatchObject({ authorization_details: [call()] });
    const empty = await stage.exchange(first, { audience: 'docs-api', authorization_details: '[]' }, mcp);
    expect(empty.body).toMatchObject({ authorization_details: [call()] });
    const fewer = await stage.exchange(
      first,
      { audience: 'docs-api', ...asked(call({ tools: ['read'], max_calls: 1 })) },
      mcp,
    );
    expect(fewer.body).toMatchObject({ authorization_details: [call({ tools: ['read'], max_calls: 1 })] });
    const wider = await stage.exchange(
      first,
      { audience: 'docs-api', ...asked(call({ max_calls: 6 })) },
      mcp,
    );
    expect(refusalOf(wider)).toEqual(invalid);
  });

  test('that are sealed stand in no record in the clear', async () => {
    const server = 'a-server-of-secret-name';
    await exchange([call({ server })]);
    await exchange([call()]);
    const records = await stage.records({ kind: 'exchange' });
    for (const { body } of records) {
      const text = Buffer.from(String(body), 'base64').toString();
      expect(text).not.toContain(server);
      expect(text).not.toContain('"max_calls"');
    }
    expect(Buffer.from(String(records[0]?.['body']), 'base64').toString()).toContain(
      '"sealed":["/grant/authorization_details"]',
    );
  });

  test('section 10: the metadata name the types', async () => {
    const at = '/.well-known/oauth-authorization-server/t';
    const { body } = await request(`${stage.server.data}${at}/acme`);
    expect(body).toMatchObject({ authorization_details_types_supported: ['tool_call'] });
    const { body: none } = await request(`${stage.server.data}${at}/globex`);
    expect(none).not.toHaveProperty('authorization_details_types_supported');
  });

  test('over Connect and by the command line', async () => {
    const subjectToken = await stage.issuer.sign();
    const authorizationDetails = [call()];
    const { body } = await connect<{ accessToken: string }>(
      stage.server.data,
      'DelegationService/Exchange',
      { tenant: 'acme', subjectToken, audience: 'docs-mcp', scopes: ['docs.read'], authorizationDetails },
      basic(agent.id, agent.secret),
    );
    expect(body).toMatchObject({ authorizationDetails });
    const { body: told } = await connect(
      stage.server.data,
      'DelegationService/Introspect',
      { tenant: 'acme', token: body.accessToken },
      basic(agent.id, agent.secret),
    );
    expect(told).toMatchObject({ active: true, authorizationDetails });
    const ask = `token exchange -t acme --audience docs-mcp --scope docs.read --subject-token ${subjectToken}`;
    const run = at(stage.server, agent.secret);
    const { stdout } = await run(
      '--json',
      ...ask.split(' '),
      '--authorization-details',
      JSON.stringify([call()]),
    );
    expect(JSON.parse(stdout)).toMatchObject({ authorization_details: [call()] });
    const shown = await run('--json', 'token', 'introspect', '-t', 'acme', body.accessToken);
    expect(JSON.parse(shown.stdout)).toMatchObject({
      active: true,
      use: 'suggest',
      authorization_details: [call()],
    });
    const wrong = await run(...ask.split(' '), '--authorization-details', '{"type":"tool_call"}');
    expect(wrong).toMatchObject({ code: 2, stderr: expect.stringContaining('not a JSON array of objects') });
  });
});

/** A token of the stand-in identity provider. */
async function devToken(tenant: string): Promise<string> {
  const { body } = await request<{ access_token: string }>(
    `${stage.server.data}/t/${tenant}/dev/token?user=alice&client=research-agent`,
    { method: 'POST' },
  );
  return body.access_token;
}
