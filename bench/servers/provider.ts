import { createServer } from 'node:http';
import { exportJWK, generateKeyPair } from 'jose';
import { Provider } from 'oidc-provider';

/**
 * oidc-provider, which gives a client JWT access tokens for its credentials and keeps them in memory. `argv[2]` is its
 * address.
 */
export const RESOURCE = 'https://docs.acme.example/mcp';
export const CLIENT = { id: 'research-agent', secret: 'the-clients-secret-at-the-provider' };

const [url] = process.argv.slice(2);
if (import.meta.main && url !== undefined) {
  const { privateKey } = await generateKeyPair('ES256', { extractable: true });
  const jwk = { ...(await exportJWK(privateKey)), kid: 'op-1', alg: 'ES256', use: 'sig' };
  const provider = new Provider(url, {
    clients: [
      {
        client_id: CLIENT.id,
        client_secret: CLIENT.secret,
        redirect_uris: [],
        response_types: [],
        grant_types: ['client_credentials'],
        token_endpoint_auth_method: 'client_secret_basic',
        id_token_signed_response_alg: 'ES256',
      },
    ],
    jwks: { keys: [jwk] },
    scopes: ['docs.read'],
    ttl: { ClientCredentials: 300 },
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: () => ({
          scope: 'docs.read',
          audience: RESOURCE,
          accessTokenFormat: 'jwt',
          accessTokenTTL: 300,
          jwt: { sign: { alg: 'ES256' } },
        }),
      },
    },
  });
  const { hostname, port } = new URL(url);
  const serve = provider.callback();
  createServer((request, response) => void serve(request, response)).listen(Number(port), hostname);
}
