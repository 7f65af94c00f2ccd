import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import {
  type CryptoKey,
  exportJWK,
  generateKeyPair,
  type JWK,
  type JWTHeaderParameters,
  SignJWT,
} from 'jose';

/** A token issuer whose key is at hand, so that a test can sign what no honest provider would. */
export interface Issuer extends AsyncDisposable {
  readonly url: string;
  readonly publicJwk: JWK;
  readonly privateKey: CryptoKey;
  /** What was fetched from it, as paths. */
  readonly requests: readonly string[];
  sign(claims?: Record<string, unknown>, header?: Partial<JWTHeaderParameters>): Promise<string>;
}

export const ISSUER_AUDIENCE = 'https://mandate.acme.example';

type Answer = (request: IncomingMessage, response: ServerResponse) => boolean;

/** `answer` may take a request before the metadata and the keys do. */
export async function startIssuer(answer: Answer = () => false): Promise<Issuer> {
  const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true });
  const publicJwk = { ...(await exportJWK(publicKey)), kid: 'issuer-1', alg: 'ES256', use: 'sig' };
  const requests: string[] = [];
  let url = '';
  const listener = await listen((request, response) => {
    requests.push(request.url ?? '');
    if (answer(request, response)) return;
    response.setHeader('content-type', 'application/json');
    if (request.url === '/.well-known/openid-configuration')
      response.end(JSON.stringify({ issuer: url, jwks_uri: `${url}/jwks` }));
    else if (request.url === '/jwks') response.end(JSON.stringify({ keys: [publicJwk] }));
    else response.writeHead(404).end('{}');
  });
  url = listener.url;
  return {
    url,
    publicJwk,
    privateKey,
    requests,
    sign: (claims = {}, header = {}) => {
      const now = Math.floor(Date.now() / 1000);
      const defaults = {
        iss: url,
        sub: 'alice',
        aud: ISSUER_AUDIENCE,
        client_id: 'research-agent',
        iat: now,
        exp: now + 3600,
      };
      return new SignJWT({ ...defaults, ...claims })
        .setProtectedHeader({ alg: 'ES256', kid: 'issuer-1', typ: 'at+jwt', ...header })
        .sign(privateKey);
    },
    [Symbol.asyncDispose]: () => listener[Symbol.asyncDispose](),
  };
}

/** How a tenant.yaml names it. */
export const trustIn = (url: string) => ({
  issuer: url,
  algorithms: ['ES256' as const],
  audiences: [ISSUER_AUDIENCE],
});

/** An HTTP server on a free port of this machine. */
export async function listen(
  handler: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<{ url: string } & AsyncDisposable> {
  const server: Server = createServer(handler);
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    [Symbol.asyncDispose]: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
