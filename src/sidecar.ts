import type { Config } from './config.ts';
import { systemMonotonic } from './effects.ts';
import { authorityAt } from './fleet/authority.ts';
import { Follower } from './fleet/follower.ts';
import { type ServedParts, servedByReplica } from './fleet/sidecar.ts';
import { Forwarding } from './server/forwarding.ts';
import { PassingOn } from './server/passing-on.ts';
import { readFleetFiles } from './settings.ts';
import type { Writer } from './storage/writer.ts';
import type { Callers } from './tenancy/callers.ts';
import type { Heard } from './tenancy/freshness.ts';

/** What a sidecar has beside what every server has. */
export interface Sidecar {
  readonly follower: Follower;
  readonly passingOn: PassingOn;
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
