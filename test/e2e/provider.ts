import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { exportJWK, generateKeyPair } from 'jose';
import { Provider } from 'oidc-provider';
import * as client from 'openid-client';

/** A real OpenID provider, and a user who signs in at it to a client. */

/** The resource whose access tokens the tenant takes: what tenant.yaml names under audiences. */
export const RESOURCE = 'https://mandate.acme.example';
const REDIRECT_URI = 'http://127.0.0.1/callback';
const CLIENT_SECRET = 'the-clients-secret-at-the-provider';

export interface OpenIdProvider extends AsyncDisposable {
  readonly url: string;
  /** Signs a user in to a client: authorization code flow with PKCE. */
  signIn(user: string, clientId: string): Promise<{ idToken: string; accessToken: string }>;
}

export async function startProvider(clients: readonly string[]): Promise<OpenIdProvider> {
  const server = createServer();
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const { privateKey } = await generateKeyPair('RS256', { extractable: true });
  const jwk = { ...(await exportJWK(privateKey)), kid: 'op-1', alg: 'RS256', use: 'sig' };
  const provider = new Provider(url, configurationOf(clients, jwk));
  const serve = provider.callback();
  server.on('request', (request, response) => {
    const served = request.url?.startsWith('/interaction/')
      ? consent(provider, request, response)
      : serve(request, response);
    served.catch((error: unknown) => response.writeHead(500).end(String(error)));
  });
  return {
    url,
    signIn: (user, clientId) => signIn(url, user, clientId),
    [Symbol.asyncDispose]: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

const configurationOf = (clients: readonly string[], jwk: object) => ({
  clients: clients.map((id) => ({
    client_id: id,
    client_secret: CLIENT_SECRET,
    redirect_uris: [REDIRECT_URI],
    grant_types: ['authorization_code'],
    response_types: ['code'],
    token_endpoint_auth_method: 'client_secret_basic',
  })),
  jwks: { keys: [jwk] },
  cookies: { keys: ['a key for the cookies of a test'] },
  ttl: { AccessToken: 600, IdToken: 600, Interaction: 600, Session: 600, Grant: 600 },
  findAccount: (_context: unknown, id: string) => ({ accountId: id, claims: () => ({ sub: id }) }),
  interactions: {
    url: (_context: unknown, interaction: { uid: string }) => `/interaction/${interaction.uid}`,
  },
  features: {
    devInteractions: { enabled: false },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => RESOURCE,
      useGrantedResource: () => true,
      getResourceServerInfo: () => ({
        scope: 'docs',
        audience: RESOURCE,
        accessTokenFormat: 'jwt',
        accessTokenTTL: 600,
        jwt: { sign: { alg: 'RS256' } },
      }),
    },
  },
});

/** What a person would do in the browser: signs in as the login hint says, then agrees to what is asked. */
async function consent(
  provider: Provider,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { prompt, params, session } = await provider.interactionDetails(request, response);
  const result: Record<string, unknown> = {};
  if (prompt.name === 'login') result['login'] = { accountId: params['login_hint'] };
  else {
    const grant = new provider.Grant({
      accountId: session?.accountId ?? '',
      clientId: params['client_id'] ?? '',
    });
    grant.addOIDCScope((prompt.details.missingOIDCScope ?? []).join(' '));
    for (const [resource, scopes] of Object.entries(prompt.details.missingResourceScopes ?? {}))
      grant.addResourceScope(resource, scopes.join(' '));
    result['consent'] = { grantId: await grant.save() };
  }
  await provider.interactionFinished(request, response, result, { mergeWithLastSubmission: true });
}

async function signIn(
  issuer: string,
  user: string,
  clientId: string,
): Promise<{ idToken: string; accessToken: string }> {
  const configuration = await client.discovery(
    new URL(issuer),
    clientId,
    CLIENT_SECRET,
    client.ClientSecretBasic(CLIENT_SECRET),
    { execute: [client.allowInsecureRequests] },
  );
  const verifier = client.randomPKCECodeVerifier();
  const state = client.randomState();
  const start = client.buildAuthorizationUrl(configuration, {
    redirect_uri: REDIRECT_URI,
    scope: 'openid docs',
    resource: RESOURCE,
    state,
    login_hint: user,
    code_challenge: await client.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
  });
  const callback = await follow(start);
  const tokens = await client.authorizationCodeGrant(
    configuration,
    callback,
    { pkceCodeVerifier: verifier, expectedState: state, idTokenExpected: true },
    { resource: RESOURCE },
  );
  return { idToken: tokens.id_token ?? '', accessToken: tokens.access_token };
}

/** A browser's part: follows redirects with its cookies until it is sent back to the client. */
async function follow(start: URL): Promise<URL> {
  const jar = new Map<string, string>();
  let at = start;
  for (let hop = 0; hop < 12; hop += 1) {
    const cookie = [...jar].map(([name, value]) => `${name}=${value}`).join('; ');
    const response = await fetch(at, { redirect: 'manual', headers: { cookie } });
    for (const line of response.headers.getSetCookie()) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(line) ?? [];
      if (value === '') jar.delete(name);
      else jar.set(name, value);
    }
    const location = response.headers.get('location');
    if (location === null)
      throw new Error(`${at.pathname} answered ${response.status}: ${await response.text()}`);
    at = new URL(location, at);
    if (at.href.startsWith(REDIRECT_URI)) return at;
  }
  throw new Error('the provider redirects without end');
}
