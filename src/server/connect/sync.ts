import { type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import type { ServiceImpl } from '@connectrpc/connect';
import { ServiceError } from '../../errors.ts';
import type { ChangeSource, News } from '../../fleet/source.ts';
import {
  type FollowResponseSchema,
  ShipRequestSchema,
  type SyncService,
} from '../../gen/mandate/v1/sync_pb.ts';
import { encodeArgs } from '../../storage/changes/body.ts';
import type { Position } from '../../storage/changes/commands.ts';
import type { Callers } from '../../tenancy/callers.ts';
import type { Tenant, Tenants } from '../../tenancy/tenants.ts';
import type { Shipments } from '../intake/shipments.ts';
import { presentedIn } from './context.ts';

type Message = MessageInitShape<typeof FollowResponseSchema>;

/** SyncService: each follower hears of the tenants that it may have. */
export function syncService(parts: {
  readonly source: ChangeSource;
  readonly callers: Callers;
  readonly tenants: Tenants;
  readonly shipments: Pick<Shipments, 'take'>;
  readonly base: () => string;
  readonly version: string;
  /** Of a sidecar, which is followed by nobody: how old its state is nobody could tell. */
  readonly passingOn: unknown;
  /** Aborted when the server stops. */
  readonly stopping: AbortSignal;
}): ServiceImpl<typeof SyncService> {
  const { source, callers, tenants, shipments, base, version, passingOn, stopping } = parts;
  return {
    // As bytes again, for a thread: over gRPC, as servers send it, it is not read before (`grpc/ship.ts`).
    async ship(request, context) {
      const message = toBinary(ShipRequestSchema, request);
      return { kept: BigInt(await shipments.take(presentedIn(context), request.tenant, message)) };
    },
    async *follow(messages, context): AsyncGenerator<Message> {
      if (passingOn) throw new ServiceError('unimplemented', 'this is a sidecar: follow its authority');
      const presented = presentedIn(context);
      // Whoever may follow none is told so, and does not wait for one that comes.
      await callers.visible(tenants, presented, 'sync.follow');
      const mayFollow = async (tenant: Tenant): Promise<boolean> => {
        try {
          // That it may not follow others is nothing for their logs.
          return (await callers.visible([tenant], presented, 'sync.follow')).length > 0;
        } catch (error) {
          if (error instanceof ServiceError) return false;
          throw error;
        }
      };
      const ended = new AbortController();
      const signal = AbortSignal.any([context.signal, stopping, ended.signal]);
      const incoming = messages[Symbol.asyncIterator]();
      const first = await incoming.next();
      const following = first.done ? undefined : first.value.message;
      if (following?.case !== 'following')
        throw new ServiceError('invalid_request', 'the first message says where the follower is');
      const positions = new Map<string, Position>(
        following.value.positions.map(({ tenant, version: at, chain }) => [
          tenant,
          { version: Number(at), chain },
        ]),
      );
      let ping = 0;
      const read = async (): Promise<void> => {
        for (let next = await incoming.next(); !next.done; next = await incoming.next()) {
          if (next.value.message.case === 'ping') ping = Number(next.value.message.value);
          source.pinged();
        }
      };
      void read().then(
        () => ended.abort(),
        () => ended.abort(),
      );
      yield { event: { case: 'welcome', value: { baseUrl: base(), version } } };
      for await (const news of source.follow({ positions, mayFollow, ping: () => ping, signal }))
        yield messageOf(news);
    },
  };
}

function messageOf(news: News): Message {
  if ('heartbeat' in news) return { event: { case: 'heartbeat', value: { ping: BigInt(news.heartbeat) } } };
  const { tenant } = news;
  if ('change' in news) {
    const { version, name, body, chain = new Uint8Array() } = news.change;
    return {
      event: {
        case: 'change',
        value: { tenant, version: BigInt(version), name, body: Buffer.from(body), chain: Buffer.from(chain) },
      },
    };
  }
  if ('copy' in news) return { event: { case: 'copyBegun', value: { tenant } } };
  if ('part' in news) {
    const { table, columns, rows } = news.part;
    const value = { tenant, table, columns: [...columns], rows: Buffer.from(encodeArgs(rows)) };
    return { event: { case: 'copyPart', value } };
  }
  if ('ended' in news) {
    const { version, chain } = news.ended;
    return {
      event: { case: 'copyEnded', value: { tenant, version: BigInt(version), chain: Buffer.from(chain) } },
    };
  }
  return { event: { case: 'retired', value: { tenant } } };
}
