import path from 'node:path';
import {
  type CallOptions,
  Client,
  type ClientDuplexStream,
  type ClientOptions,
  type ClientReadableStream,
  credentials,
  Metadata,
  type MethodDefinition,
  type ServiceError,
} from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

/** A stranger's gRPC client: grpc-js and the proto files, nothing of ours. */

const folders = ['proto', 'third_party'].map((name) => path.resolve(import.meta.dirname, '../..', name));
const files = [
  ...['decision', 'delegation', 'policy', 'tenant', 'audit'].map((name) => `mandate/v1/${name}.proto`),
  'grpc/health/v1/health.proto',
  'grpc/reflection/v1/reflection.proto',
];
const definitions = loadSync(files, {
  includeDirs: folders,
  keepCase: true,
  longs: Number,
  enums: String,
  defaults: true,
  oneofs: true,
});

type Method = MethodDefinition<object, object>;
export type Message = Readonly<Record<string, unknown>>;

export class Grpc implements Disposable {
  readonly #client: Client;
  readonly #authorization: string | undefined;

  /** `url` is http://host:port, or what grpc-js calls a target; `security` leaves cleartext for TLS. */
  constructor(
    url: string,
    secret?: string,
    security = credentials.createInsecure(),
    options: ClientOptions = {},
  ) {
    this.#client = new Client(url.replace('http://', ''), security, options);
    this.#authorization = secret === undefined ? undefined : `Bearer ${secret}`;
  }

  /** Rejects with grpc-js's ServiceError. */
  call<T = Message>(service: string, name: string, request: object, options: CallOptions = {}): Promise<T> {
    const { path: rpc, requestSerialize, responseDeserialize } = methodOf(service, name);
    return new Promise((resolve, reject) => {
      this.#client.makeUnaryRequest(
        rpc,
        requestSerialize,
        responseDeserialize,
        request,
        this.#metadata(),
        options,
        (error, response) => (error ? reject(error) : resolve(response as T)),
      );
    });
  }

  /** Messages of a server stream; `cancel()` ends it. */
  stream(service: string, name: string, request: object): ClientReadableStream<object> {
    const { path: rpc, requestSerialize, responseDeserialize } = methodOf(service, name);
    return this.#client.makeServerStreamRequest(
      rpc,
      requestSerialize,
      responseDeserialize,
      request,
      this.#metadata(),
    );
  }

  /** A stream both ways. Bytes are sent as they are, in place of a message. */
  duplex(service: string, name: string, options: CallOptions = {}): ClientDuplexStream<object, object> {
    const { path: rpc, requestSerialize, responseDeserialize } = methodOf(service, name);
    return this.#client.makeBidiStreamRequest(
      rpc,
      (value: object) => (Buffer.isBuffer(value) ? value : requestSerialize(value)),
      responseDeserialize,
      this.#metadata(),
      options,
    );
  }

  /** One check by a stream of its own, which a decision thread answers. Rejects as a call would. */
  async checkByStream<T>(request: object): Promise<T> {
    const stream = this.duplex('DecisionService', 'CheckStream');
    stream.end({ correlation_id: 1, request });
    const answers: { response?: T; error?: { code: string } }[] = [];
    for await (const answer of stream) answers.push(answer as never);
    const [{ response, error } = {}] = answers;
    if (response) return response;
    const metadata = new Metadata();
    metadata.set('mandate-error-code', error?.code ?? '');
    throw Object.assign(new Error(error?.code), { metadata });
  }

  /** Sends bytes in place of a message. */
  raw(service: string, name: string, bytes: Uint8Array): Promise<unknown> {
    const { path: rpc, responseDeserialize } = methodOf(service, name);
    return new Promise((resolve, reject) => {
      this.#client.makeUnaryRequest(
        rpc,
        (value: Buffer) => value,
        responseDeserialize,
        Buffer.from(bytes),
        this.#metadata(),
        (error, response) => (error ? reject(error) : resolve(response)),
      );
    });
  }

  #metadata(): Metadata {
    const metadata = new Metadata();
    if (this.#authorization) metadata.set('authorization', this.#authorization);
    return metadata;
  }

  [Symbol.dispose](): void {
    this.#client.close();
  }
}

function methodOf(service: string, name: string): Method {
  const full = service.includes('.') ? service : `mandate.v1.${service}`;
  const definition = definitions[full] as unknown as Record<string, Method> | undefined;
  const method = definition?.[name];
  if (!method) throw new Error(`no method ${service}/${name} in the proto files`);
  return method;
}

/** The status and the stable code of a call that fails. */
export async function failure(call: Promise<unknown>): Promise<{ status: number; code: string }> {
  try {
    await call;
  } catch (error) {
    const { code, metadata } = error as ServiceError;
    return { status: code, code: String(metadata.get('mandate-error-code')[0] ?? '') };
  }
  throw new Error('the call succeeded');
}

type Value = Readonly<Record<string, unknown>>;

/** JSON as a google.protobuf.Struct in proto-loader's form. */
export const struct = (json: Value): object => ({
  fields: Object.fromEntries(Object.entries(json).map(([name, value]) => [name, valueOf(value)])),
});

function valueOf(value: unknown): object {
  if (value === null || value === undefined) return { nullValue: 'NULL_VALUE' };
  if (typeof value === 'string') return { stringValue: value };
  if (typeof value === 'number') return { numberValue: value };
  if (typeof value === 'boolean') return { boolValue: value };
  if (Array.isArray(value)) return { listValue: { values: value.map(valueOf) } };
  return { structValue: struct(value as Value) };
}
