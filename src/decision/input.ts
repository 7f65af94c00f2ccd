import type { TenantId } from '../ids.ts';
import type { GrantRow } from '../storage/rows.ts';
import type { Facts } from '../tenancy/facts.ts';
import { isoTime } from '../time.ts';
import type { JsonObject } from './request.ts';

/** Everything a policy gets to see. A decision is a function of this text and the revision, and of nothing else. */
export interface InputParts {
  /** Milliseconds since the epoch. */
  readonly now: number;
  readonly tenant: TenantId;
  readonly subject: Facts;
  /** What the caller said about the subject; the directory wins. */
  readonly stated: JsonObject | undefined;
  readonly actors: readonly Facts[];
  readonly action: { readonly name: string; readonly properties?: JsonObject | undefined };
  readonly resource: {
    readonly type: string;
    readonly id: string;
    readonly properties?: JsonObject | undefined;
  };
  readonly context: JsonObject | undefined;
  readonly grant: GrantRow | undefined;
}

/** The policy input as JSON text. Facts are JSON already and are joined in as they are. */
export function buildInput(parts: InputParts): string {
  const { action, resource } = parts;
  return `{"now":"${isoTime(parts.now)}","tenant":{"id":"${parts.tenant}"},"subject":${principal(
    parts.subject,
    parts.stated,
  )},"actors":[${parts.actors.map((actor) => principal(actor, undefined)).join(',')}],"action":{"name":${JSON.stringify(
    action.name,
  )},"properties":${object(action.properties)}},"resource":{"type":${JSON.stringify(resource.type)},"id":${JSON.stringify(
    resource.id,
  )},"properties":${object(resource.properties)}},"context":${object(parts.context)},"grant":${grantJson(parts.grant)}}`;
}

const object = (value: JsonObject | undefined): string =>
  value === undefined ? '{}' : JSON.stringify(value);

function principal(facts: Facts, stated: JsonObject | undefined): string {
  if (stated !== undefined) return described(facts, withStated(facts.members, stated));
  const known = texts.get(facts);
  if (known !== undefined) return known;
  const text = described(facts, facts.members);
  texts.set(facts, text);
  return text;
}

/** Facts do not change, and those of a busy principal are asked for again and again. */
const texts = new WeakMap<Facts, string>();

const described = ({ ref, status }: Facts, members: string): string =>
  `{"class":"${ref.class}","type":"${ref.class}","id":${JSON.stringify(ref.id)},${members},"status":"${status}"}`;

/** The members with what the caller stated among the properties; where both name one, the directory wins. */
function withStated(members: string, stated: JsonObject): string {
  const known = JSON.parse(`{${members}}`) as { properties: JsonObject };
  return JSON.stringify({ ...known, properties: { ...stated, ...known.properties } }).slice(1, -1);
}

function grantJson(grant: GrantRow | undefined): string {
  if (!grant) return 'null';
  return JSON.stringify({
    id: grant.id,
    scope: grant.scopes,
    audience: grant.audience,
    authorization_details: [],
    depth: grant.depth,
    expires_at: new Date(grant.expiresAt).toISOString(),
  });
}
