import http2 from 'node:http2';
import { basic } from './server.ts';

/** What callers send, in each protocol's own form. */

export interface Answer<T = Record<string, unknown>> {
  readonly status: number;
  readonly headers: Headers;
  readonly body: T;
}

export interface CheckJson {
  decision: string;
  reasons?: { code: string; message?: string; neededScopes?: string[] }[];
  obligations?: Record<string, unknown>[];
  challenge?: Record<string, unknown>;
  decisionId: string;
  policyRevision: string;
  recordIndex?: string;
  cost?: number;
}

export interface TokenJson {
  access_token: string;
  issued_token_type: string;
  token_type: string;
  expires_in: number;
  scope: string;
  grant_id: string;
  error?: string;
  error_description?: string;
  code?: string;
}

export async function request<T = Record<string, unknown>>(
  url: string,
  init: RequestInit = {},
): Promise<Answer<T>> {
  const response = await fetch(url, init);
  const text = await response.text();
  const isJson = response.headers.get('content-type')?.startsWith('application/json') === true;
  return {
    status: response.status,
    headers: response.headers,
    body: (isJson ? JSON.parse(text) : { text }) as T,
  };
}

export const postJson = <T = Record<string, unknown>>(
  url: string,
  body: unknown,
  authorization?: string,
): Promise<Answer<T>> =>
  request<T>(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...(authorization ? { authorization } : {}) },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });

/** A Connect call with JSON, as curl would make it. */
export const connect = <T = Record<string, unknown>>(
  base: string,
  method: string,
  body: unknown,
  authorization?: string,
): Promise<Answer<T>> => postJson<T>(`${base}/mandate.v1.${method}`, body, authorization);

export const check = (base: string, body: unknown, authorization?: string): Promise<Answer<CheckJson>> =>
  connect<CheckJson>(base, 'DecisionService/Check', body, authorization);

/** alice reads the roadmap: allowed in acme. */
export const aliceReads = {
  tenant: 'acme',
  subject: { type: 'user', id: 'alice' },
  action: { name: 'document.read' },
  resource: { type: 'document', id: 'roadmap', properties: { project: 'apollo', sensitivity: 'internal' } },
};

/** The same, by whoever a token names. */
export const tokenReads = (token: string, audience = 'docs-mcp') => {
  const { subject: _, ...rest } = aliceReads;
  return { ...rest, subjectToken: token, audience };
};

export const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
export const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token';
export const ID_TOKEN = 'urn:ietf:params:oauth:token-type:id_token';

type Fields = Readonly<Record<string, string>>;

/** A form posted to a tenant's OAuth endpoint by a client. */
export function form<T = TokenJson>(
  base: string,
  endpoint: string,
  fields: Fields | URLSearchParams,
  client?: { id: string; secret: string },
  tenant = 'acme',
): Promise<Answer<T>> {
  return request<T>(`${base}/t/${tenant}/oauth2/${endpoint}`, {
    method: 'POST',
    headers: client ? { authorization: basic(client.id, client.secret) } : {},
    body: new URLSearchParams(fields),
  });
}

/** The usual exchange: the user's access token for a token to read at docs-mcp. */
export const exchangeFields = (subjectToken: string, fields: Fields = {}): Fields => ({
  grant_type: EXCHANGE,
  subject_token: subjectToken,
  subject_token_type: ACCESS_TOKEN,
  audience: 'docs-mcp',
  scope: 'docs.read',
  ...fields,
});

export interface Http2Answer {
  readonly status: number;
  readonly headers: http2.IncomingHttpHeaders;
  readonly trailers: http2.IncomingHttpHeaders;
  readonly text: string;
}

/** One request on a connection of its own. */
export function http2Request(
  base: string,
  headers: http2.OutgoingHttpHeaders,
  body: string | Uint8Array = '',
): Promise<Http2Answer> {
  return new Promise((resolve, reject) => {
    const session = http2.connect(base);
    session.on('error', reject);
    const stream = session.request(headers, {
      endStream: body.length === 0 && headers[':method'] !== 'POST',
    });
    stream.on('error', reject);
    let answer: http2.IncomingHttpHeaders = {};
    let trailers: http2.IncomingHttpHeaders = {};
    let text = '';
    stream.on('response', (received) => {
      answer = received;
    });
    stream.on('trailers', (received) => {
      trailers = received;
    });
    stream.setEncoding('utf8');
    stream.on('data', (chunk: string) => {
      text += chunk;
    });
    stream.on('end', () => {
      session.close();
      resolve({ status: Number(answer[':status'] ?? 0), headers: answer, trailers, text });
    });
    if (stream.writable) stream.end(body);
  });
}

/** The payload of a JWT, unverified. */
export const claimsOf = (token: string): Record<string, unknown> =>
  JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString('utf8')) as Record<string, unknown>;
