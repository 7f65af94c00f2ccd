import type { Config } from '../config.ts';
import { Borrowing } from '../decision/metering/leasing/borrowing.ts';
import { HeldMeters } from '../decision/metering/leasing/held-meters.ts';
import { systemMonotonic } from '../effects.ts';
import { authorityAt } from '../fleet/authority.ts';
import { Follower } from '../fleet/follower.ts';
import { lessorAt } from '../fleet/lessor.ts';
import { type ServedParts, servedByReplica } from '../fleet/sidecar.ts';
import { Forwarding } from '../server/forwarding.ts';
import { PassingOn } from '../server/passing-on.ts';
import { readFleetFiles } from '../settings.ts';
import type { GrantStore } from '../storage/grants.ts';
import type { Writer } from '../storage/writer.ts';
import type { Callers } from '../tenancy/callers.ts';
import type { Heard } from '../tenancy/freshness.ts';

/** What a sidecar has beside what every server has. */
export interface Sidecar {
  readonly follower: Follower;
  readonly passingOn: PassingOn;
}

/** What it counts itself, of what its authorities lease to it. Throws `config_invalid`. */
export function metersOfSidecar(
  authority: NonNullable<Config['authority']>,
  { config, grants }: { readonly config: Config; readonly grants: GrantStore },
  stack: AsyncDisposableStack,
): HeldMeters {
  const files = readFleetFiles('authority', authority);
  const secret = config.authoritySecret;
  const places = authority.admin.map((url) => ({ url, secret, ...files }));
  const lessor = lessorAt(places, config.node);
  const monotonic = systemMonotonic;
  const borrowing = stack.use(new Borrowing({ lessor, monotonic }));
  return new HeldMeters({ grants, borrowing, monotonic });
}

/** Throws `config_invalid`. */
export function assembleSidecar(
  authority: NonNullable<Config['authority']>,
  parts: ServedParts & {
    readonly config: Config;
    readonly writer: Writer;
    readonly callers: Callers;
    readonly heard: Heard;
    readonly base: () => string;
  },
  stack: AsyncDisposableStack,
): Sidecar {
  const { config, writer, callers, heard, store, tenants } = parts;
  const files = readFleetFiles('authority', authority);
  const forwarding = (origins: readonly URL[]): Forwarding =>
    stack.use(new Forwarding({ origins, ...files, callers }));
  const secret = config.authoritySecret;
  return {
    passingOn: new PassingOn({
      data: forwarding(authority.data),
      admin: forwarding(authority.admin),
      tenants,
    }),
    follower: stack.use(
      new Follower({
        authorities: authority.admin.map((url) => authorityAt({ url, secret, ...files }, config)),
        writer,
        store,
        hooks: servedByReplica(parts),
        heard,
        monotonic: systemMonotonic,
        baseUrl: parts.base(),
      }),
    ),
  };
}
