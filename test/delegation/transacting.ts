import { sha256 } from '../e2e/server.ts';
import { type Client, mcp, Stage } from './stage.ts';

/** acme with transaction tokens: docs-mcp is at its edge, ledger-mcp within, and mail-mcp outside. */

export const DOMAIN = 'internal.acme.example';
export const TXN_TOKEN = 'urn:ietf:params:oauth:token-type:txn_token';
export const ledger: Client = { id: 'ledger-mcp', secret: 'acme-ledger-mcp-test-secret-0000001' };
export const outside: Client = { id: 'mail-mcp', secret: 'acme-mail-mcp-test-secret-000000001' };

type Options = NonNullable<Parameters<typeof Stage.open>[0]>;

export const openStage = (accepted = true, options: Options = {}): Promise<Stage> =>
  Stage.open({
    ...options,
    acme: (manifest) => {
      manifest.transactions = {
        trust_domain: DOMAIN,
        workloads: ['mcp_server:docs-mcp', 'mcp_server:ledger-mcp', 'service:docs-api'],
        accepted,
      };
      for (const { id, secret } of [ledger, outside])
        manifest.principals.push({
          class: 'mcp_server',
          id,
          credentials: [{ secret_sha256: sha256(secret) }],
          ceiling: { scopes: ['docs.read', 'docs.write'], audiences: [DOMAIN, 'docs-api'], max_depth: 5 },
        });
      for (const { ceiling, id } of manifest.principals) {
        if (!ceiling) continue;
        ceiling.max_depth = 5;
        if (id === 'docs-mcp') {
          ceiling.audiences = ['docs-api', DOMAIN];
          ceiling.scopes = ['docs.read', 'docs.suggest'];
          ceiling.use = 'suggest';
        }
      }
      options.acme?.(manifest);
    },
  });

type Fields = Readonly<Record<string, string>>;

/** What docs-mcp asks for with the token that it was called with. */
export const transact = (stage: Stage, token: string, fields: Fields = {}, client = mcp) =>
  stage.exchange(
    token,
    { audience: DOMAIN, scope: 'docs.read', requested_token_type: TXN_TOKEN, ...fields },
    client,
  );

export const replace = (stage: Stage, token: string, fields: Fields = {}, client = ledger) =>
  transact(stage, token, { subject_token_type: TXN_TOKEN, ...fields }, client);

/** A transaction token of alice's, that docs-mcp asked for. */
export async function transactionToken(stage: Stage, fields: Fields = {}): Promise<string> {
  const { body } = await transact(stage, await stage.granted(), fields);
  if (!body.access_token) throw new Error(`no token: ${JSON.stringify(body)}`);
  return body.access_token;
}
