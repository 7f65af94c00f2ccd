import type { JWTHeaderParameters } from 'jose';
import type { Issuer } from '../e2e/issuer.ts';
import { type Answer, form, type TokenJson } from '../e2e/requests.ts';
import type { Options } from '../e2e/server.ts';
import { agent, type Client, type Stage } from './stage.ts';

/** Identity assertions: what an identity provider of acme's signs, and what a client does with them. */

/** Addresses do not change when the server is started again. */
export const BASE = 'http://mandate.test';
export const ACME = `${BASE}/t/acme`;
export const DOCS = 'https://docs.acme.example/mcp';
export const JWT_BEARER = 'urn:ietf:params:oauth:grant-type:jwt-bearer';
export const ID_JAG = 'urn:ietf:params:oauth:token-type:id-jag';
/** Another authority, and what there is. */
export const CHAT = 'https://auth.chat.example';
export const CHAT_MCP = 'https://mcp.chat.example/';

type Setting = Partial<{ max_lifetime_seconds: number; max_session_seconds: number; tenant: string }>;

/** A stage whose issuer is trusted with assertions, and whose agents may ask for some. */
export const crossing = (
  setting: Setting = {},
  further: NonNullable<Options['acme']> = () => {},
): Options => ({
  overrides: { base_url: BASE },
  acme: (manifest) => {
    const [first] = manifest.issuers ?? [];
    if (first) first.identity_assertions = { max_lifetime_seconds: 300, ...setting };
    manifest.authorities = [{ issuer: CHAT, resources: [CHAT_MCP, 'https://files.chat.example/'] }];
    for (const { ceiling } of manifest.principals) ceiling?.audiences?.push(CHAT);
    further(manifest);
  },
});

let serial = 0;

/** alice's, for research-agent to read at docs-mcp. */
export function assertionOf(
  issuer: Issuer,
  claims: Record<string, unknown> = {},
  header: Partial<JWTHeaderParameters> = {},
): Promise<string> {
  serial += 1;
  const now = Math.floor(Date.now() / 1_000);
  const defaults = {
    aud: ACME,
    resource: DOCS,
    scope: 'docs.read docs.suggest',
    jti: `assertion-${serial}`,
    exp: now + 300,
  };
  return issuer.sign({ ...defaults, ...claims }, { typ: 'oauth-id-jag+jwt', ...header });
}

/** Hands an assertion in. */
export const handIn = (
  stage: Stage,
  assertion: string,
  fields: Record<string, string> = {},
  client: Client = agent,
): Promise<Answer<TokenJson>> =>
  form(stage.server.data, 'token', { grant_type: JWT_BEARER, assertion, ...fields }, client);

/** Asks for an assertion for the other authority. */
export const askFor = (
  stage: Stage,
  subjectToken: string,
  fields: Record<string, string> = {},
  client: Client = agent,
): Promise<Answer<TokenJson>> =>
  stage.exchange(
    subjectToken,
    { requested_token_type: ID_JAG, audience: CHAT, resource: CHAT_MCP, ...fields },
    client,
  );
