import type { ServedBundles } from '../../policy/revisions/served.ts';
import type { Callers } from '../../tenancy/callers.ts';
import type { Tenants } from '../../tenancy/tenants.ts';
import { presentedBy } from '../peer.ts';
import type { Route } from './router.ts';

/** The policy of a tenant as OPA polls it: a bundle by HTTP, with an entity tag (RFC 9110 section 13.1.2). */
export function bundleRoutes({
  tenants,
  callers,
  bundles,
}: {
  tenants: Tenants;
  callers: Callers;
  bundles: ServedBundles;
}): Route[] {
  return [
    {
      method: 'GET',
      path: '/t/{tenant}/bundle.tar.gz',
      handle: async (request, { tenant: id = '' }) => {
        const presented = presentedBy(request.header('authorization'), request.peer);
        await callers.authenticate(tenants.get(id), presented, 'policy.read');
        const tenant = tenants.get(id);
        const named = (revision: string): Record<string, string> => ({
          etag: `"${revision}"`,
          'cache-control': 'no-cache',
        });
        const current = bundles.revisionOf(tenant);
        if (isAmong(current, request.header('if-none-match')))
          return { status: 304, headers: named(current) };
        const { revision, bytes } = await bundles.archiveOf(tenant);
        return {
          status: 200,
          headers: { ...named(revision), 'content-type': 'application/gzip' },
          body: bytes,
        };
      },
    },
  ];
}

/** Weakly compared, as the header asks for. */
const isAmong = (revision: string, tags = ''): boolean =>
  tags
    .split(',')
    .map((tag) => tag.trim().replace(/^W\//, ''))
    .some((tag) => tag === '*' || tag === `"${revision}"`);
