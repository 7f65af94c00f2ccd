import type { JsonObject } from '../../decision/request.ts';
import { MAX_SEARCH_PAGE, type Search, type Sought } from '../../decision/search.ts';
import { ServiceError } from '../../errors.ts';
import { part, requestOf } from './authzen/members.ts';
import { type Asked, type AuthzenParts, authzenHandler } from './authzen.ts';
import type { Route } from './router.ts';

const DEFAULT_PAGE = 100;
const MAX_CANDIDATES = 10_000;
const MAX_BYTES = 4 * 1024 * 1024;
const soughts: readonly Sought[] = ['subject', 'resource', 'action'];

/** AuthZEN 1.0 search: which subjects, resources or actions the answer would be allow for. */
export function searchRoutes(parts: AuthzenParts & { readonly search: Search }): Route[] {
  return soughts.map((sought) => ({
    method: 'POST',
    path: `/t/{tenant}/access/v1/search/${sought}`,
    handle: authzenHandler(parts, (asked) => find(parts.search, sought, asked), MAX_BYTES),
  }));
}

async function find(
  search: Search,
  sought: Sought,
  { tenant, caller, token, body }: Asked,
): Promise<unknown> {
  const page = part(body, 'page') ?? {};
  const limit = page['limit'] ?? DEFAULT_PAGE;
  if (typeof limit !== 'number' || !Number.isInteger(limit) || limit < 1 || limit > MAX_SEARCH_PAGE)
    throw new ServiceError('invalid_request', `page.limit is 1 to ${MAX_SEARCH_PAGE}`);
  const pageToken = page['token'] ?? '';
  if (typeof pageToken !== 'string') throw new ServiceError('invalid_request', 'page.token is a string');
  const { candidates, ...context } = part(body, 'context') ?? {};
  const { results, nextToken } = await search.find(tenant, caller, sought, {
    ...requestOf(tenant, { ...body, context }),
    token: sought === 'subject' ? undefined : token,
    candidates: candidatesOf(candidates),
    pageToken,
    limit,
  });
  // By the name that the caller has for the class.
  const type = sought === 'subject' ? part(body, 'subject')?.['type'] : undefined;
  return {
    results: type === undefined ? results : results.map((each) => ({ ...each, type })),
    page: { next_token: nextToken },
  };
}

function candidatesOf(
  value: unknown,
): { type: string; id: string; properties?: JsonObject | undefined }[] | undefined {
  if (value === undefined) return undefined;
  if (!Array.isArray(value) || value.length > MAX_CANDIDATES)
    throw new ServiceError(
      'invalid_request',
      `context.candidates is an array of at most ${MAX_CANDIDATES} resources`,
    );
  return value.map((each: unknown) => {
    const { type, id, properties } = (each ?? {}) as JsonObject;
    if (typeof type !== 'string' || typeof id !== 'string')
      throw new ServiceError('invalid_request', 'a candidate has a type and an id');
    return {
      type,
      id,
      properties: properties === undefined ? undefined : part({ properties }, 'properties'),
    };
  });
}
