import { create } from '@bufbuild/protobuf';
import { createClient, type Interceptor, type Transport } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import {
  type FollowRequest,
  FollowRequestSchema,
  type FollowResponse,
  SyncService,
} from '../gen/mandate/v1/sync_pb.ts';
import { type TenantId, tenantId } from '../ids.ts';
import { decodeArgs } from '../storage/changes/body.ts';
import type { Position } from '../storage/changes/commands.ts';
import type { Cell } from '../storage/changes/copy.ts';
import type { Authority, Welcomed } from './follower.ts';
import type { News } from './source.ts';

/** How an authority is reached. */
export interface AuthorityPlace {
  /** Of its admin plane. */
  readonly url: URL;
  readonly secret: string | undefined;
  /** PEM. */
  readonly ca: string | undefined;
  readonly cert: string | undefined;
  readonly key: string | undefined;
}

/** The most bytes of one message: parts of copies are half a megabyte, a change may carry a pushed policy. */
const MAX_MESSAGE_BYTES = 32 * 1024 * 1024;

/** Shows the secret with each call. */
export const authorized =
  (secret: string | undefined): Interceptor =>
  (next) =>
  (request) => {
    if (secret !== undefined) request.header.set('authorization', `Bearer ${secret}`);
    return next(request);
  };

/** The way to an authority, as whoever may follow it. */
export function transportTo({ url, secret, ca, cert, key }: AuthorityPlace): Transport {
  return createGrpcTransport({
    baseUrl: url.origin,
    interceptors: [authorized(secret)],
    readMaxBytes: MAX_MESSAGE_BYTES,
    nodeOptions: { ca, cert, key },
  });
}

/** An authority over gRPC. */
export function authorityAt(
  place: AuthorityPlace,
  own: { readonly version: string; readonly node: string },
): Authority {
  const client = createClient(SyncService, transportTo(place));
  return {
    address: place.url.origin,
    async *follow(positions, pings, signal) {
      for await (const message of client.follow(requests(positions, pings, own), { signal })) {
        const news = newsOf(message);
        if (news) yield news;
      }
    },
  };
}

async function* requests(
  positions: ReadonlyMap<string, Position>,
  pings: AsyncIterable<number>,
  { version, node }: { readonly version: string; readonly node: string },
): AsyncGenerator<FollowRequest> {
  const following = {
    positions: [...positions].map(([tenant, at]) => ({
      tenant,
      version: BigInt(at.version),
      chain: Buffer.from(at.chain),
    })),
    version,
    node,
  };
  yield create(FollowRequestSchema, { message: { case: 'following', value: following } });
  for await (const ping of pings)
    yield create(FollowRequestSchema, { message: { case: 'ping', value: BigInt(ping) } });
}

/** Undefined for what a newer authority may say beside. Throws for a tenant's name that is none. */
function newsOf({ event }: FollowResponse): News | { readonly welcome: Welcomed } | undefined {
  switch (event.case) {
    case 'welcome':
      return { welcome: event.value };
    case 'heartbeat':
      return { heartbeat: Number(event.value.ping) };
    case 'change': {
      const { version, name, body, chain } = event.value;
      const change = { version: Number(version), name, body: Buffer.from(body).toString('utf8'), chain };
      return { tenant: named(event.value), change };
    }
    case 'copyBegun':
      return { tenant: named(event.value), copy: 'begun' };
    case 'copyPart': {
      const { table, columns, rows } = event.value;
      const cells = decodeArgs(Buffer.from(rows).toString('utf8')) as Cell[][];
      return { tenant: named(event.value), part: { table, columns, rows: cells } };
    }
    case 'copyEnded': {
      const { version, chain } = event.value;
      return { tenant: named(event.value), ended: { version: Number(version), chain } };
    }
    case 'retired':
      return { tenant: named(event.value), retired: true };
    default:
      return undefined;
  }
}

const named = ({ tenant }: { readonly tenant: string }): TenantId => tenantId(tenant);
