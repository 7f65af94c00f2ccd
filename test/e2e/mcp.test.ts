import http from 'node:http';
import type { AddressInfo } from 'node:net';
import {
  Client,
  type CrossAppAccessContext,
  CrossAppAccessProvider,
  StreamableHTTPClientTransport,
} from '@modelcontextprotocol/client';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Agent } from '../../examples/mcp-server/agent.ts';
import { documentsApi } from '../../examples/mcp-server/documents.ts';
import { listenerOf } from '../../examples/mcp-server/http.ts';
import { Mandate } from '../../examples/mcp-server/mandate.ts';
import { documentServer } from '../../examples/mcp-server/server.ts';
import { at } from '../cli/run.ts';
import { assertionOf } from '../delegation/assertions.ts';
import { type Issuer, listen, startIssuer, trustIn } from './issuer.ts';
import { claimsOf, request } from './requests.ts';
import { bearer, type Running, secrets, startServer } from './server.ts';

/** examples/mcp-server, driven by the official SDK's client and an agent that works in a task. */

let ahead = 0;
let issuer: Issuer;
let server: Running;
let url: URL;
/** What came to the upstream, as `authorization`. */
const upstreamSaw: string[] = [];
const closing = new AsyncDisposableStack();

beforeAll(async () => {
  issuer = closing.use(await startIssuer());
  const front = http.createServer();
  await new Promise<void>((resolve) => {
    front.listen(0, '127.0.0.1', resolve);
  });
  closing.defer(() => {
    front.close();
    front.closeAllConnections();
  });
  url = new URL(`http://127.0.0.1:${(front.address() as AddressInfo).port}/mcp`);
  server = closing.use(
    await startServer({
      clock: () => Date.now() + ahead,
      acme: (manifest) => {
        manifest.issuers = [{ ...trustIn(issuer.url), identity_assertions: { max_lifetime_seconds: 300 } }];
        manifest.tasks = { max_hours: 1 };
        for (const each of manifest.principals) if (each.id === 'docs-mcp') each.resources = [url.href];
      },
    }),
  );
  const mandateFor = (clientId: string, clientSecret: string): Mandate =>
    new Mandate({ issuer: `${server.data}/t/acme`, clientId, clientSecret });
  const api = documentsApi(mandateFor('docs-api', secrets.api));
  const upstream = closing.use(
    await listen((incoming, outgoing) => {
      upstreamSaw.push(incoming.headers.authorization ?? '');
      api.emit('request', incoming, outgoing);
    }),
  );
  const mandate = mandateFor('docs-mcp', secrets.mcp);
  const answer = documentServer({ url, mandate, upstream: { url: upstream.url, audience: 'docs-api' } });
  front.on('request', listenerOf(url.origin, answer));
});

afterAll(() => closing.disposeAsync());

/** alice's, and it ends long before the task does. */
const userToken = (): Promise<string> => issuer.sign({ exp: Math.floor(Date.now() / 1_000) + 240 });

const agentFor = (): Agent =>
  new Agent({
    issuer: `${server.data}/t/acme`,
    clientId: 'research-agent',
    clientSecret: secrets.agent,
    audience: url.href,
    most: 'docs.read docs.suggest',
    scope: 'docs.read',
  });

const textOf = ({ content }: { content: unknown }): string => (content as { text: string }[])[0]?.text ?? '';
const namesOf = ({ tools }: { tools: { name: string }[] }): string[] => tools.map(({ name }) => name);

describe('MCP authorization: the example server', () => {
  test('RFC 9728 5.1, RFC 6750 3: who comes without a token is told where to get one, and for which scope', async () => {
    const { status, headers } = await request(url.href, { method: 'POST', body: '{}' });
    expect(status).toBe(401);
    const challenge = headers.get('www-authenticate') ?? '';
    expect(challenge).toContain(`resource_metadata="${url.origin}/.well-known/oauth-protected-resource/mcp"`);
    expect(challenge).toContain('scope="docs.read"');
  });

  test('RFC 9728 3.2: its metadata name the tenant as the authorization server', async () => {
    const { body } = await request(`${url.origin}/.well-known/oauth-protected-resource/mcp`);
    expect(body).toMatchObject({
      resource: url.href,
      authorization_servers: [`${server.data}/t/acme`],
      scopes_supported: ['docs.read', 'docs.suggest', 'docs.write'],
    });
  });

  test('a page of another origin is not served', async () => {
    const { status } = await request(url.href, {
      method: 'POST',
      headers: { origin: 'https://evil.example' },
    });
    expect(status).toBe(403);
  });

  test('enterprise-managed authorization: the SDK finds its way from the 401, with an assertion of the provider', async () => {
    const told: CrossAppAccessContext[] = [];
    const provider = new CrossAppAccessProvider({
      clientId: 'research-agent',
      clientSecret: secrets.agent,
      expectedIssuer: `${server.data}/t/acme`,
      assertion: (context) => {
        told.push(context);
        const { authorizationServerUrl: aud, resourceUrl: resource, scope } = context;
        return assertionOf(issuer, { aud, resource, scope });
      },
    });
    const client = new Client({ name: 'an agent', version: '1' }, { versionNegotiation: { mode: 'auto' } });
    await client.connect(new StreamableHTTPClientTransport(url, { authProvider: provider }));
    expect(told).toMatchObject([
      { authorizationServerUrl: `${server.data}/t/acme`, resourceUrl: url.href, scope: 'docs.read' },
    ]);
    const read = await client.callTool({ name: 'read_document', arguments: { id: 'roadmap' } });
    expect(textOf(read)).toBe('Ship the thing.');
    expect(claimsOf(provider.tokens()?.access_token ?? '')).toMatchObject({
      sub: 'alice',
      aud: url.href,
      act: { sub: 'research-agent' },
    });
    await client.close();
    upstreamSaw.length = 0;
  });

  test('the whole way: 401, a filtered list, step-up, another token upstream, renewal, and the kill switch', async () => {
    const agent = agentFor();
    await agent.open(await userToken(), 'look after the roadmap');
    // It begins without a token: the 401 makes it ask for one.
    expect(await agent.token()).toBeUndefined();
    const client = await agent.connect(url);
    const call = (name: string, input: Record<string, string>) => agent.call(client, name, input);

    // What its token does not reach is not shown.
    expect(namesOf(await client.listTools())).toEqual(['read_document']);

    // The upstream gets a token of its own, for it, that names who acts for whom.
    const incoming = (await agent.token()) ?? '';
    expect(claimsOf(incoming)).toMatchObject({ aud: url.href, scope: 'docs.read' });
    expect(textOf(await call('read_document', { id: 'roadmap' }))).toBe('Ship the thing.');
    expect(upstreamSaw).toHaveLength(1);
    const [passedOn = ''] = upstreamSaw;
    expect(passedOn).not.toBe(bearer(incoming));
    expect(claimsOf(passedOn)).toMatchObject({
      sub: 'alice',
      aud: 'docs-api',
      act: {
        sub: 'docs-mcp',
        principal_class: 'mcp_server',
        act: { sub: 'research-agent', principal_class: 'agent' },
      },
    });
    // RFC 8707 2: one that is for another server is not taken, good as it is.
    expect((await request(url.href, { method: 'POST', headers: { authorization: passedOn } })).status).toBe(
      401,
    );

    // What a policy refuses, scopes would not change: no challenge, and nothing goes upstream.
    const restricted = await call('read_document', { id: 'salaries' });
    expect(restricted.isError).toBe(true);
    expect(textOf(restricted)).toContain('restricted_for_agents');
    expect(upstreamSaw).toHaveLength(1);

    // RFC 6750 3.1: one challenge, with all that the operation takes.
    const change = { id: 'roadmap', text: 'Ship it well.' };
    await expect(client.callTool({ name: 'suggest_change', arguments: change })).rejects.toMatchObject({
      requiredScope: 'docs.read docs.suggest',
      resourceMetadataUrl: new URL(`${url.origin}/.well-known/oauth-protected-resource/mcp`),
    });
    expect(textOf(await call('suggest_change', change))).toBe('Ship the thing. -> Ship it well.');
    expect(namesOf(await client.listTools())).toEqual(['read_document', 'suggest_change']);

    // Later its token has ended, and its user's too: the task goes on.
    ahead += 6 * 60_000;
    const before = await agent.token();
    expect(textOf(await call('suggest_change', change))).toContain('Ship it well.');
    expect(await agent.token()).not.toBe(before);

    // Killed, it is out with the next call, and gets no token any more.
    const killed = await at(server, secrets.operator)('kill', 'agent', 'research-agent', '-t', 'acme');
    expect(killed).toMatchObject({ code: 0 });
    const calls = upstreamSaw.length;
    const { status } = await request(url.href, {
      method: 'POST',
      headers: { authorization: bearer((await agent.token()) ?? '') },
    });
    expect(status).toBe(401);
    await expect(call('suggest_change', change)).rejects.toThrow('no token');
    expect(await agent.token()).toBeUndefined();
    expect(upstreamSaw).toHaveLength(calls);
    await client.close();
  });
});
