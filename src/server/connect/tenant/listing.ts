import { ServiceError } from '../../../errors.ts';
import type { PrincipalClass } from '../../../ids.ts';
import type { ListedPrincipal, PrincipalStore } from '../../../storage/principals/store.ts';
import type { TenantNo } from '../../../storage/rows.ts';
import { ownersIn } from '../../../tenancy/registry/registration.ts';

const USUAL = 100;
const MOST = 1_000;
/** Read at a time. */
const CHUNK = 100;
/** Of those that the owner does not answer for, in one page; the next goes on from there. */
const MOST_LOOKED_AT = 10_000;

/** A page of principals in the order of class and id. Throws `invalid_request`. */
export function listed(
  store: PrincipalStore,
  tenantNo: TenantNo,
  asked: { class: PrincipalClass | undefined; owner: string; limit: number; pageToken: string },
): { readonly found: readonly ListedPrincipal[]; readonly next: string } {
  if (asked.limit > MOST) throw new ServiceError('invalid_request', `limit: at most ${MOST}`);
  const limit = asked.limit || USUAL;
  const found: ListedPrincipal[] = [];
  let after = placeIn(asked.pageToken) ?? { class: asked.class ?? '', id: '' };
  for (let looked = 0; looked < MOST_LOOKED_AT; looked += CHUNK) {
    const rows = store.page(tenantNo, after, CHUNK);
    for (const row of rows) {
      if (asked.class !== undefined && row.class !== asked.class) return { found, next: '' };
      after = row;
      if (asked.owner !== '' && !ownersIn(row).includes(asked.owner)) continue;
      if (found.push(row) === limit) return { found, next: tokenOf(after) };
    }
    if (rows.length < CHUNK) return { found, next: '' };
  }
  return { found, next: tokenOf(after) };
}

interface Place {
  readonly class: string;
  readonly id: string;
}

const tokenOf = ({ class: cls, id }: Place): string => Buffer.from(`${cls}:${id}`).toString('base64url');

function placeIn(token: string): Place | undefined {
  if (token === '') return undefined;
  const text = Buffer.from(token, 'base64url').toString('utf8');
  const colon = text.indexOf(':');
  const place = { class: text.slice(0, colon), id: text.slice(colon + 1) };
  if (colon > 0 && tokenOf(place) === token) return place;
  throw new ServiceError('invalid_request', 'page_token is none of this method');
}
