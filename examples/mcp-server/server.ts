import {
  type AuthInfo,
  bearerAuthChallengeResponse,
  type CallToolResult,
  createMcpHandler,
  getOAuthProtectedResourceMetadataUrl,
  McpServer,
  OAuthError,
  OAuthErrorCode,
  originValidationResponse,
  type ScopeChallenge,
  type Tool,
  verifyBearerToken,
} from '@modelcontextprotocol/server';
import { z } from 'zod';
import { documents } from './documents.ts';
import type { Decided, Mandate, Resource } from './mandate.ts';

/**
 * An MCP server behind Mandate. It holds no rule of its own: which tools somebody sees, and what each call may do, is what
 * the tenant's policy says of the token that came with the request.
 */

/** What each tool does, as the tenant calls it. */
const tools = {
  read_document: {
    description: 'Reads a document',
    actions: ['document.read'],
    input: z.object({ id: z.string() }),
  },
  suggest_change: {
    description: 'Reads a document and suggests another text',
    actions: ['document.read', 'document.suggest'],
    input: z.object({ id: z.string(), text: z.string() }),
  },
  edit_document: {
    description: 'Changes the text of a document',
    actions: ['document.edit'],
    input: z.object({ id: z.string(), text: z.string() }),
  },
} as const;

/** What a client that has no token asks for first. */
const FIRST_SCOPES = ['docs.read'];

type ToolName = keyof typeof tools;
const toolNames = Object.keys(tools) as ToolName[];

export interface DocumentServerOptions {
  /** Where clients reach it, and what tokens are for (RFC 8707). */
  readonly url: URL;
  readonly mandate: Mandate;
  /** Where documents are got from, and what the tenant calls it. */
  readonly upstream: { readonly url: string; readonly audience: string };
}

/** Answers requests to the server and for its metadata. */
export function documentServer(options: DocumentServerOptions): (request: Request) => Promise<Response> {
  const { url, mandate } = options;
  const resourceMetadataUrl = getOAuthProtectedResourceMetadataUrl(url);
  const verifier = { verifyAccessToken: (token: string) => authInfoOf(options, token) };
  const handler = createMcpHandler(({ authInfo }) => serverFor(options, authInfo));
  return async (request) => {
    const { pathname, href } = new URL(request.url);
    const refused = originValidationResponse(request, [url.hostname]);
    if (refused) return refused;
    if (href === resourceMetadataUrl) return Response.json(await mandate.resourceMetadata(url.href));
    if (pathname !== url.pathname) return new Response(null, { status: 404 });
    try {
      const header = request.headers.get('authorization');
      const asked = { verifier, resourceMetadataUrl, expectedResource: url };
      return await handler.fetch(request, { authInfo: await verifyBearerToken(header, asked) });
    } catch (error) {
      return bearerAuthChallengeResponse(error, { resourceMetadataUrl, requiredScopes: FIRST_SCOPES });
    }
  };
}

/** Asked anew with each request: what was revoked a moment ago is good no more. */
async function authInfoOf({ url, mandate }: DocumentServerOptions, token: string): Promise<AuthInfo> {
  const { active, client_id: clientId = '', scope = '', exp, aud = [] } = await mandate.introspect(token);
  if (!active) throw new OAuthError(OAuthErrorCode.InvalidToken, 'the token is not active');
  const isForUs = [aud].flat().some((each) => each === url.href || each === mandate.clientId);
  const scopes = scope.split(' ').filter((each) => each !== '');
  return { token, clientId, scopes, ...(exp && { expiresAt: exp }), ...(isForUs && { resource: url }) };
}

/** What one request is served by. */
function serverFor({ mandate, upstream }: DocumentServerOptions, auth: AuthInfo | undefined): McpServer {
  const { token = '', scopes: held = [] } = auth ?? {};
  const server = new McpServer({ name: 'documents', version: '1.0.0' });

  // The challenge and the tool ask for the same: it is decided, and recorded, once.
  const decided = new Map<string, Promise<readonly Decided[]>>();
  const decide = (name: ToolName, id: string): Promise<readonly Decided[]> => {
    const answer = decided.get(`${name} ${id}`) ?? mandate.check(token, tools[name].actions, resourceOf(id));
    decided.set(`${name} ${id}`, answer);
    return answer;
  };
  const read = async (id: string): Promise<string> => {
    // The token that came in is for this server alone.
    const next = await mandate.exchange(token, upstream.audience, 'docs.read');
    const headers = { authorization: `Bearer ${next}` };
    const response = await fetch(`${upstream.url}/${encodeURIComponent(id)}`, { headers });
    if (!response.ok) throw new Error(`the upstream answered ${response.status}`);
    return response.text();
  };

  for (const name of toolNames)
    server.registerTool(
      name,
      {
        description: tools[name].description,
        inputSchema: tools[name].input,
        scopeChallenge: async ({ request }) => {
          const { arguments: given } = (request.params ?? {}) as { arguments?: { id?: unknown } };
          return challengeOf(await decide(name, String(given?.id)), held);
        },
      },
      async (input: { id: string; text?: string }): Promise<CallToolResult> => {
        const refused = (await decide(name, input.id)).filter(
          ({ decision }) => decision !== 'DECISION_ALLOW',
        );
        if (refused.length > 0) return told(refused.flatMap(reasonsOf).join('; '), true);
        if (name === 'read_document') return told(await read(input.id));
        if (name === 'suggest_change') return told(`${await read(input.id)} -> ${input.text}`);
        return told(`${input.id} is changed`);
      },
    );

  // A tool that is of use with no document is not shown. A call to it is answered all the same: with what it takes.
  server.server.setRequestHandler('tools/list', async () => {
    const found = await Promise.all(documents.map((each) => mandate.actions(token, each)));
    const isOfUse = (name: ToolName): boolean =>
      found.some((actions) => tools[name].actions.every((each) => actions.has(each)));
    return { tools: toolNames.filter(isOfUse).map(toolOf) };
  });
  return server;
}

const resourceOf = (id: string): Resource =>
  documents.find((each) => each.id === id) ?? { type: 'document', id, properties: {} };

/** All scopes of the operation in one challenge, beside those that there are; none where scopes alone would not do. */
function challengeOf(decided: readonly Decided[], held: readonly string[]): ScopeChallenge | undefined {
  const reasons = decided.flatMap(({ reasons: each = [] }) => each);
  const needed = reasons.flatMap(({ neededScopes = [] }) => neededScopes);
  if (needed.length === 0 || reasons.some(({ neededScopes = [] }) => neededScopes.length === 0))
    return undefined;
  const [first = '', ...rest] = new Set([...held, ...needed]);
  return { scopes: [first, ...rest] };
}

const reasonsOf = ({ reasons = [] }: Decided): string[] =>
  reasons.map(({ code, message }) => (message === undefined ? code : `${code}: ${message}`));

const told = (text: string, isError = false): CallToolResult => ({
  content: [{ type: 'text', text }],
  isError,
});

const toolOf = (name: ToolName): Tool => ({
  name,
  description: tools[name].description,
  inputSchema: z.toJSONSchema(tools[name].input) as Tool['inputSchema'],
});
