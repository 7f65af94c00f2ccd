import type { TenantId } from '../ids.ts';
import { Lasting, Outline, type PolicyInput } from '../input.ts';
import { storedJson } from '../storage/faults.ts';
import { type Authentication, audiencesOf, confirmationOf, type GrantRow } from '../storage/rows.ts';
import type { Facts } from '../tenancy/facts.ts';
import { isoTime } from '../time.ts';
import type { HeldApproval } from './approval/presented.ts';
import type { JsonObject } from './request.ts';
import { Kept, type SharedParts } from './shared-parts.ts';
import { taskMembers } from './task.ts';

/** Everything a policy gets to see. A decision is a function of it and the revision, and of nothing else. */
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
  /** Stands in the context where a token says it, as `authentication`. */
  readonly authentication: Authentication | undefined;
  readonly grant: GrantRow | undefined;
  /** What was counted so far, by the meters that the decision meets. */
  readonly usage?: Readonly<Record<string, number>> | undefined;
  /** One that was presented and holds for this very question. */
  readonly approval?: HeldApproval | undefined;
}

/** An input and what its record keeps of it: all, but for what the items of a batch have in common. */
export interface BuiltInput extends PolicyInput {
  readonly kept: { readonly json: string; readonly members: string };
}

/** What the policy gets, in the form it is evaluated from: the text is what the record keeps, and says the same. */
export function buildInput(parts: InputParts, shared?: SharedParts): BuiltInput {
  const { action, resource } = parts;
  const now = isoTime(parts.now);
  const subject = principal(parts.subject, parts.stated);
  const actors = parts.actors.map((actor) => principal(actor, undefined));
  const given = action.properties ?? NOTHING;
  const properties = resource.properties ?? NOTHING;
  const { authentication } = parts;
  const context = authentication ? { ...parts.context, authentication } : (parts.context ?? NOTHING);
  const grant = parts.grant ? ofGrant(parts.grant) : NO_GRANT;
  const more = moreOf(parts);
  const whole = (of: string, how: string, what: string, around: string): string =>
    `{"now":"${now}","tenant":{"id":"${parts.tenant}"},"subject":${of},"actors":[${
      actors.length === 0 ? '' : actors.map(({ json }) => json).join(',')
    }],"action":{"name":${JSON.stringify(action.name)},"properties":${how}},"resource":{"type":${JSON.stringify(
      resource.type,
    )},"id":${JSON.stringify(resource.id)},"properties":${what}},"context":${around},"grant":${
      grant.json
    }${more === undefined ? '' : `,${JSON.stringify(more).slice(1, -1)}`}}`;
  const texts = [subject.json, text(given), text(properties), text(context)] as const;
  const json = whole(...texts);
  return {
    json,
    kept: (shared && keptOf(parts, shared, texts, whole)) ?? { json, members: '' },
    value: outlineOf(more).filled([
      now,
      parts.tenant,
      subject.value,
      actors.length === 0 ? actors : actors.map(({ value }) => value),
      action.name,
      given,
      resource.type,
      resource.id,
      properties,
      context,
      grant.value,
      ...(more ? Object.values(more) : []),
    ]),
  };
}

type Texts = readonly [subject: string, given: string, properties: string, context: string];

/** Undefined where all of it stands in the record. Who it is does so in any case. */
function keptOf(
  { subject, stated, action, resource, context }: InputParts,
  shared: SharedParts,
  texts: Texts,
  whole: (...texts: Texts) => string,
): BuiltInput['kept'] | undefined {
  const kept = new Kept(shared);
  const { class: cls, id } = subject.ref;
  const keptTexts: Texts = [
    kept.text('subject', stated, texts[0], () => JSON.stringify({ class: cls, id })),
    kept.text('action.properties', action.properties, texts[1]),
    kept.text('resource.properties', resource.properties, texts[2]),
    kept.text('context', context, texts[3]),
  ];
  return kept.members === '' ? undefined : { json: whole(...keptTexts), members: kept.members };
}

type HoleOf = Parameters<ConstructorParameters<typeof Outline>[0]>[0];

const shapeOf = (hole: HoleOf) => ({
  now: hole(0),
  tenant: { id: hole(1) },
  subject: hole(2),
  actors: hole(3),
  action: { name: hole(4), properties: hole(5) },
  resource: { type: hole(6), id: hole(7), properties: hole(8) },
  context: hole(9),
  grant: hole(10),
});

/** The input's shape, which is the same each time, but for what is counted and for what an approval was presented with. */
const outline = new Outline(shapeOf);
const fullOutline = new Outline((hole) => ({ ...shapeOf(hole), usage: hole(11), approval: hole(12) }));
const meteredOutline = new Outline((hole) => ({ ...shapeOf(hole), usage: hole(11) }));
const approvedOutline = new Outline((hole) => ({ ...shapeOf(hole), approval: hole(11) }));

type More = Pick<InputParts, 'usage' | 'approval'>;

/** What most inputs have none of: in the order of the holes. */
function moreOf({ usage, approval }: InputParts): More | undefined {
  if (usage === undefined && approval === undefined) return undefined;
  return { ...(usage && { usage }), ...(approval && { approval }) };
}

function outlineOf(more: More | undefined): Outline {
  if (!more) return outline;
  if (!more.approval) return meteredOutline;
  return more.usage ? fullOutline : approvedOutline;
}

const NOTHING: JsonObject = {};
const text = (value: JsonObject): string => (value === NOTHING ? '{}' : JSON.stringify(value));

/** Facts do not change, and those of a busy principal are asked for again and again. */
function principal(facts: Facts, stated: JsonObject | undefined): PolicyInput {
  if (stated !== undefined) return described(withStated(facts, stated));
  if (facts.form !== undefined) return facts.form as PolicyInput;
  const { json, value } = described(membersOf(facts));
  facts.asked += 1;
  // Most of many come once, and the parsed form is larger than the text.
  if (facts.asked === 1) return { json, value };
  const input = { json, value: new Lasting(value) };
  facts.form = input;
  return input;
}

const described = (value: JsonObject): PolicyInput => ({ json: JSON.stringify(value), value });

export const membersOf = ({ ref, status, members }: Facts): JsonObject => ({
  class: ref.class,
  type: ref.class,
  id: ref.id,
  ...(storedJson(`{${members}}`) as JsonObject),
  status,
});

/** The members with what the caller stated among the properties; where both name one, the directory wins. */
function withStated(facts: Facts, stated: JsonObject): JsonObject {
  const members = membersOf(facts);
  return { ...members, properties: { ...stated, ...(members['properties'] as JsonObject) } };
}

const NO_GRANT: PolicyInput = { json: 'null', value: null };
const grantForms = new WeakMap<GrantRow, PolicyInput>();

/** A grant does not change, and while its token is used it is asked for again and again. */
function ofGrant(grant: GrantRow): PolicyInput {
  const known = grantForms.get(grant);
  if (known) return known;
  const { json, value } = described(grantMembers(grant));
  const form = { json, value: new Lasting(value) };
  grantForms.set(grant, form);
  return form;
}

const grantMembers = (grant: GrantRow): JsonObject => ({
  id: grant.id,
  scope: grant.scopes,
  use: grant.use,
  audience: grant.audience,
  audiences: audiencesOf(grant),
  authorization_details: grant.details,
  may_act: grant.mayAct,
  // Absent for a bearer's.
  ...(confirmationOf(grant) && { cnf: confirmationOf(grant) }),
  // Absent for what is part of none.
  ...(grant.task === null ? {} : { task: taskMembers(grant.task) }),
  depth: grant.depth,
  expires_at: new Date(grant.expiresAt).toISOString(),
});
