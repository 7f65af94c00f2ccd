import { inUnits } from '../decision/metering/amount.ts';
import { oldest } from '../decision/metering/counter.ts';
import type { Clock } from '../effects.ts';
import { ServiceError } from '../errors.ts';
import { type GrantId, isSame, type PrincipalRef } from '../ids.ts';
import type { GrantFilter, GrantLister, GrantPlace } from '../storage/granting/listing.ts';
import type { GrantStore } from '../storage/grants.ts';
import type { GrantRow } from '../storage/rows.ts';
import type { UsageStore } from '../storage/usage.ts';
import type { Caller } from '../tenancy/callers.ts';
import type { Tenant } from '../tenancy/tenants.ts';

export interface GrantsAsked extends Omit<GrantFilter, 'under' | 'livingAt'> {
  /** A grant's id. */
  readonly under: string | undefined;
  readonly includesEnded: boolean;
  readonly pageSize: number;
  readonly pageToken: string;
}

/** How a grant stands at one moment. */
export type GrantState = 'living' | 'expired' | 'ended';

export interface ShownGrant {
  readonly grant: GrantRow;
  readonly state: GrantState;
}

const MAX_PAGE = 1_000;

/** What a meter has counted, and for whom. */
export interface Used {
  readonly meter: string;
  readonly of: string;
  readonly amount: number;
}

/** What was delegated, for whoever may see it: an agent sees what it has a part in, others all of a tenant. */
export class Grants {
  readonly #grants: GrantStore;
  readonly #lister: GrantLister;
  readonly #usage: UsageStore;
  readonly #clock: Clock;

  constructor(options: { grants: GrantStore; lister: GrantLister; usage: UsageStore; clock: Clock }) {
    this.#grants = options.grants;
    this.#lister = options.lister;
    this.#usage = options.usage;
    this.#clock = options.clock;
  }

  /** Throws `invalid_request`, `permission_denied` and `not_found`. */
  list(tenant: Tenant, caller: Caller, asked: GrantsAsked): { grants: ShownGrant[]; nextPageToken: string } {
    const { pageSize, pageToken, under, includesEnded, subject, audience, tasks } = asked;
    if (pageSize < 1 || pageSize > MAX_PAGE)
      throw new ServiceError('invalid_request', `page_size is 1 to ${MAX_PAGE}`);
    const now = this.#clock();
    const filter = {
      subject,
      audience,
      tasks,
      actor: this.#actorFor(caller, asked),
      under: under === undefined ? undefined : this.#pathOf(tenant, caller, under),
      livingAt: includesEnded ? undefined : now,
    };
    const { grants, next } = this.#lister.list(tenant.no, filter, placeOf(pageToken), pageSize);
    return { grants: grants.map((grant) => shown(grant, now)), nextPageToken: tokenOf(next) };
  }

  /** Throws `not_found`, also for what the caller may not see. */
  show(tenant: Tenant, caller: Caller, id: string): ShownGrant {
    const grant = this.#grants.find(tenant.no, id as GrantId);
    if (!grant || !maySee(caller, grant)) throw new ServiceError('not_found', 'no such grant in this tenant');
    return shown(grant, this.#clock());
  }

  /** How much a task has come to of what it has a budget for, as the last commit has it. */
  used({ no }: Tenant, { task }: GrantRow): Record<string, number> {
    const used = (meter: string): number =>
      this.#usage.of(no, meter, `task ${task?.id}`, 0).reduce((sum, { amount }) => sum + amount, 0);
    return Object.fromEntries(Object.keys(task?.budget ?? {}).map((meter) => [meter, inUnits(used(meter))]));
  }

  /**
   * What meters have counted, page by page: of those of the tenant, or of one. Throws `invalid_request`, `not_found` and
   * `permission_denied`.
   */
  usage(
    { no, manifest }: Tenant,
    caller: Caller,
    { meter, pageSize, pageToken }: { meter: string | undefined; pageSize: number; pageToken: string },
  ): { usage: Used[]; nextPageToken: string } {
    if (agentIn(caller))
      throw new ServiceError('permission_denied', 'an agent does not see what others used');
    if (pageSize < 1 || pageSize > MAX_PAGE)
      throw new ServiceError('invalid_request', `page_size is 1 to ${MAX_PAGE}`);
    const declared = Object.keys(manifest.meters).sort();
    if (meter !== undefined && !declared.includes(meter))
      throw new ServiceError('not_found', 'the tenant has no such meter');
    const [from, begin] = usagePlaceOf(pageToken);
    const usage: Used[] = [];
    let after = begin;
    for (const each of meter === undefined ? declared : [meter]) {
      if (each < from) continue;
      const since = oldest(this.#clock(), manifest.meters[each]?.window);
      // One more tells whether there is more.
      const limit = pageSize + 1 - usage.length;
      const place = { from: since, after: each === from ? after : '', limit };
      for (const { of, amount } of this.#usage.sums(no, each, place))
        usage.push({ meter: each, of, amount: inUnits(amount) });
      after = '';
      if (usage.length > pageSize) break;
    }
    if (usage.length <= pageSize) return { usage, nextPageToken: '' };
    const last = usage[pageSize - 1];
    const next = JSON.stringify([last?.meter, last?.of]);
    return { usage: usage.slice(0, pageSize), nextPageToken: Buffer.from(next).toString('base64url') };
  }

  /** Under a grant of an agent's all have the agent in their chain; elsewhere it is shown those it acts by. */
  #actorFor(caller: Caller, { actor, under }: GrantsAsked): PrincipalRef | undefined {
    const self = agentIn(caller);
    if (!self || under !== undefined) return actor;
    if (actor !== undefined && !isSame(actor, self))
      throw new ServiceError('permission_denied', 'an agent sees the grants that it has a part in');
    return self;
  }

  #pathOf(tenant: Tenant, caller: Caller, id: string): string {
    this.show(tenant, caller, id);
    // What was there a moment ago is there still: nothing else runs in between.
    return this.#lister.pathOf(tenant.no, id) ?? '';
  }
}

const agentIn = ({ principal }: Caller): PrincipalRef | undefined =>
  principal?.class === 'agent' ? principal : undefined;

function maySee(caller: Caller, { actors }: GrantRow): boolean {
  const self = agentIn(caller);
  return self === undefined || actors.some((actor) => isSame(actor, self));
}

function shown(grant: GrantRow, now: number): ShownGrant {
  if (grant.revokedAt !== null) return { grant, state: 'ended' };
  return { grant, state: grant.expiresAt > now ? 'living' : 'expired' };
}

/** Throws `invalid_request`. */
function usagePlaceOf(token: string): [meter: string, of: string] {
  if (token === '') return ['', ''];
  try {
    const place: unknown = JSON.parse(Buffer.from(token, 'base64url').toString());
    if (token.length <= MAX_TOKEN && Array.isArray(place) && place.length === 2) {
      const [meter, of] = place as unknown[];
      if (typeof meter === 'string' && typeof of === 'string') return [meter, of];
    }
  } catch {
    // Told below.
  }
  throw new ServiceError('invalid_request', 'page_token is not one that was given');
}

const tokenOf = (place: GrantPlace | undefined): string =>
  place ? Buffer.from(JSON.stringify([place.path, place.expiresAt, place.id])).toString('base64url') : '';

/** A path of nine ids, and what stands around them. */
const MAX_TOKEN = 1_024;

/** Throws `invalid_request` for what is no place, or is written otherwise than `tokenOf` does. */
function placeOf(token: string): GrantPlace | undefined {
  if (token === '') return undefined;
  try {
    if (token.length > MAX_TOKEN) throw new RangeError('too long');
    const [path, expiresAt, id] = JSON.parse(Buffer.from(token, 'base64url').toString('utf8')) as unknown[];
    if (typeof path !== 'string' || !Number.isSafeInteger(expiresAt) || typeof id !== 'string')
      throw new TypeError('not a place');
    const place = { path, expiresAt: expiresAt as number, id };
    if (tokenOf(place) === token) return place;
    throw new TypeError('not as it was given');
  } catch (cause) {
    throw new ServiceError('invalid_request', 'page_token is not one of this list', { cause });
  }
}
