import { create, toBinary } from '@bufbuild/protobuf';
import { Client, credentials, Metadata, type ServiceError } from '@grpc/grpc-js';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Shipment } from '../../src/audit/receiving/shipment.ts';
import { ShipRequestSchema } from '../../src/gen/mandate/v1/sync_pb.ts';
import type { TenantNo } from '../../src/storage/rows.ts';
import { OtherLog } from '../audit/receiving/other-server.ts';
import { connect } from '../e2e/requests.ts';
import { bearer, type Running, startServer } from '../e2e/server.ts';
import { rowOf } from '../storage/store.ts';
import { authorityOverrides, SIDECAR_SECRET } from './fleet.ts';

/** Ship as anybody may send it, over gRPC and over Connect: the bytes go unread to the thread that verifies them. */

let authority: Running;
let client: Client;

beforeAll(async () => {
  authority = await startServer({ overrides: authorityOverrides });
  client = new Client(authority.admin.replace('http://', ''), credentials.createInsecure());
}, 30_000);

afterAll(async () => {
  client.close();
  await authority[Symbol.asyncDispose]();
});

const logOf = (node: string, count = 10): OtherLog => {
  const log = new OtherLog(`pdp.acme.test/t/acme/log/${node}`);
  for (let at = 0; at < count; at += 1) log.entries.push(Buffer.from(rowOf(1 as TenantNo).body));
  return log;
};

const messageOf = ({ from, entries, proof, key, checkpoint }: Shipment, tenant = 'acme') => ({
  tenant,
  key,
  checkpoint,
  from: BigInt(from),
  entries: entries.map((each) => Buffer.from(each)),
  proof: proof.map((each) => Buffer.from(each)),
});

const bytesOf = (shipment: Shipment, tenant?: string): Uint8Array =>
  toBinary(ShipRequestSchema, create(ShipRequestSchema, messageOf(shipment, tenant)));

/** The bytes that are answered, as hex, or the code of the error. */
const overGrpc = (message: Uint8Array, secret: string | undefined = SIDECAR_SECRET): Promise<string> => {
  const metadata = new Metadata();
  metadata.set('authorization', bearer(secret));
  return new Promise((resolve) => {
    client.makeUnaryRequest(
      '/mandate.v1.SyncService/Ship',
      (bytes: Uint8Array) => Buffer.from(bytes),
      (bytes: Buffer) => bytes.toString('hex'),
      message,
      metadata,
      (error: ServiceError | null, answer?: string) =>
        resolve(error ? String(error.metadata.get('mandate-error-code')[0]) : (answer ?? '')),
    );
  });
};

const jsonOf = (shipment: Shipment) => {
  const base64 = (bytes: readonly Uint8Array[]) => bytes.map((each) => Buffer.from(each).toString('base64'));
  const { entries, proof } = shipment;
  return {
    ...messageOf(shipment),
    from: String(shipment.from),
    entries: base64(entries),
    proof: base64(proof),
  };
};

test('one log goes on over gRPC and over Connect by turns', async () => {
  const log = logOf('turns');
  expect(await overGrpc(bytesOf(log.shipment(0, 4)))).toBe('0804');
  const json = jsonOf(log.shipment(4, 7));
  const answer = await connect(authority.admin, 'SyncService/Ship', json, bearer(SIDECAR_SECRET));
  expect(answer).toMatchObject({ status: 200, body: { kept: '7' } });
  expect(await overGrpc(bytesOf(log.shipment(7, 10)))).toBe('080a');
});

test('who sends is known before anything is read, by either', async () => {
  const shipment = logOf('stranger').shipment(0, 4);
  for (const message of [bytesOf(shipment), Buffer.alloc(100, 0xff)])
    expect(await overGrpc(message, 'nobody-has-this-secret-0000000000001')).toBe('unauthenticated');
  const json = jsonOf(shipment);
  const nobody = bearer('nobody-has-this-secret-0000000000001');
  expect(await connect(authority.admin, 'SyncService/Ship', json, nobody)).toMatchObject({ status: 401 });
});

test('what is no message, or too much of one, is refused', async () => {
  expect(await overGrpc(Buffer.alloc(100, 0xff))).toBe('invalid_request');
  expect(await overGrpc(new Uint8Array())).toBe('tenant_unknown');
  const shipment = logOf('large', 1).shipment(0, 1);
  const [entry = new Uint8Array()] = shipment.entries;
  const entries = Array.from({ length: 1_025 }, () => entry);
  expect(await overGrpc(bytesOf({ ...shipment, entries }))).toBe('invalid_request');
  const huge = Array.from({ length: 1_024 }, () => Buffer.alloc(5_000, 0x20));
  expect(await overGrpc(bytesOf({ ...shipment, entries: huge }))).toBe('payload_too_large');
  // A field that is cut off, beyond what says whose it is.
  expect(await overGrpc(bytesOf(shipment).slice(0, -1))).toBe('invalid_request');
});

test('a message that names two tenants is of the last, and of no other', async () => {
  const log = logOf('twice');
  const named = (tenant: string): Uint8Array =>
    toBinary(ShipRequestSchema, create(ShipRequestSchema, { tenant }));
  const body = bytesOf(log.shipment(0, 4));
  // Its log is acme's, so globex keeps none of it.
  expect(await overGrpc(Buffer.concat([body, named('globex')]))).toBe('invalid_request');
  expect(await overGrpc(bytesOf(log.shipment(0, 4), 'globex'))).toBe('invalid_request');
  expect(await overGrpc(Buffer.concat([named('globex'), body]))).toBe('0804');
});
