import { createCipheriv, createDecipheriv, createHash } from 'node:crypto';
import type { Random } from '../effects.ts';
import { ServiceError } from '../errors.ts';
import type { PrincipalStore } from '../storage/principals/store.ts';
import type { Caller } from '../tenancy/callers.ts';
import type { Tenant } from '../tenancy/tenants.ts';
import type { Decisions } from './decisions.ts';
import { checkRequest, type UncheckedRequest } from './request.ts';
import { classOf } from './stated.ts';

/** What is searched for; the request's own member of that name is left open (AuthZEN 1.0). */
export type Sought = 'subject' | 'resource' | 'action';

export interface SearchRequest extends UncheckedRequest {
  /** Resources the caller names itself; else those that the tenant registered are looked through. */
  readonly candidates: readonly Resource[] | undefined;
  readonly pageToken: string;
  /** How many candidates to look at; fewer than that may be found. */
  readonly limit: number;
}

interface Resource {
  readonly type: string;
  readonly id: string;
  readonly properties?: { readonly [name: string]: unknown } | undefined;
}

export type Found = { readonly type: string; readonly id: string } | { readonly name: string };

export interface SearchPage {
  readonly results: readonly Found[];
  /** Empty at the end. */
  readonly nextToken: string;
}

export const MAX_SEARCH_PAGE = 1_000;

/** One candidate, and where the search goes on after it. */
interface Candidate {
  readonly request: Partial<UncheckedRequest>;
  readonly found: Found;
  readonly position: string;
}

/** Finds who may, or what may be done: by deciding each candidate, page by page, each decision recorded. */
export class Search {
  readonly #decisions: Decisions;
  readonly #principals: PrincipalStore;
  /** Seals page tokens; they end with the process. */
  readonly #key: Uint8Array;
  readonly #random: Random;

  constructor(options: { decisions: Decisions; principals: PrincipalStore; random: Random }) {
    this.#decisions = options.decisions;
    this.#principals = options.principals;
    this.#key = options.random(32);
    this.#random = options.random;
  }

  /**
   * Throws `invalid_request`, also for a page token of another request. A subject of a type that is no class is a deny
   * on record, and nothing is found.
   */
  async find(tenant: Tenant, caller: Caller, sought: Sought, request: SearchRequest): Promise<SearchPage> {
    const { pageToken, limit, candidates: _named, ...question } = request;
    // What would be refused for every candidate is refused once, before any is decided.
    const open = { ...question, ...openMember(sought, request) };
    try {
      checkRequest(open, tenant.manifest);
    } catch (error) {
      if (!(error instanceof ServiceError && error.code === 'principal_class_unknown')) throw error;
      await this.#decisions.refuse(tenant, caller, open, error);
      return { results: [], nextToken: '' };
    }
    const bound = createHash('sha256')
      .update(JSON.stringify([tenant.id, caller.id, sought, question, request.candidates ?? null]))
      .digest();
    const after = pageToken === '' ? '' : this.#open(pageToken, bound);
    const candidates = this.#candidates(tenant, sought, request, after, limit);
    if (candidates.length === 0) return { results: [], nextToken: '' };
    const items = candidates.map((each) => ({ ...question, ...each.request }));
    const answers = await this.#decisions.checkBatch(tenant, caller, items, 'execute_all', {
      purpose: 'search',
    });
    const results = candidates
      .filter((_each, at) => answers[at]?.outcome === 'allow')
      .map((each) => each.found);
    const last = candidates.at(-1)?.position ?? '';
    return { results, nextToken: candidates.length < limit ? '' : this.#seal(last, bound) };
  }

  #candidates(
    tenant: Tenant,
    sought: Sought,
    request: SearchRequest,
    after: string,
    limit: number,
  ): Candidate[] {
    if (sought === 'subject') {
      const cls = classOf(request.subject?.type ?? '', tenant.manifest);
      const ids = this.#principals.list(tenant.no, cls, after, limit);
      return ids.map((id) => ({
        request: { subject: { type: cls, id }, token: undefined },
        found: { type: cls, id },
        position: id,
      }));
    }
    const from = after === '' ? 0 : Number(after);
    const page = <T>(all: readonly T[], one: (each: T) => Omit<Candidate, 'position'>): Candidate[] =>
      all.slice(from, from + limit).map((each, at) => ({ ...one(each), position: String(from + at + 1) }));
    if (sought === 'action')
      return page(Object.keys(tenant.manifest.actions), (name) => ({
        request: { action: { name } },
        found: { name },
      }));
    const wanted = request.resource?.type ?? '';
    const known = (request.candidates ?? tenant.manifest.resources).filter(({ type }) => type === wanted);
    return page(known, (resource) => ({
      request: { resource },
      found: { type: resource.type, id: resource.id },
    }));
  }

  /**
   * base64url(nonce ‖ AES-256-GCM(position) ‖ tag): good for the request it was given for, and for no other. Encrypted,
   * since the position may be the id of somebody who was not found.
   */
  #seal(position: string, bound: Uint8Array): string {
    const nonce = this.#random(NONCE_BYTES);
    const cipher = createCipheriv('aes-256-gcm', this.#key, nonce).setAAD(bound);
    const sealed = Buffer.concat([cipher.update(position, 'utf8'), cipher.final()]);
    return Buffer.concat([nonce, sealed, cipher.getAuthTag()]).toString('base64url');
  }

  #open(token: string, bound: Uint8Array): string {
    const bytes = Buffer.from(token.slice(0, MAX_TOKEN), 'base64url');
    const [nonce, tag] = [bytes.subarray(0, NONCE_BYTES), bytes.subarray(-TAG_BYTES)];
    try {
      const decipher = createDecipheriv('aes-256-gcm', this.#key, nonce, { authTagLength: TAG_BYTES });
      decipher.setAAD(bound).setAuthTag(tag);
      return (
        decipher.update(bytes.subarray(NONCE_BYTES, -TAG_BYTES), undefined, 'utf8') + decipher.final('utf8')
      );
    } catch (cause) {
      throw new ServiceError('invalid_request', 'the page token is not of this request', { cause });
    }
  }
}

/** Holds an id of 256 characters of three bytes, sealed. */
const MAX_TOKEN = 2_048;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** Something in the place of what is searched for, so that the rest of the request can be checked. */
const openMember = (sought: Sought, { subject, resource }: UncheckedRequest): Partial<UncheckedRequest> =>
  ({
    subject: { subject: { type: subject?.type ?? '', id: 'any' }, token: undefined },
    resource: { resource: { type: resource?.type ?? '', id: 'any' } },
    action: { action: { name: 'any' } },
  })[sought];
