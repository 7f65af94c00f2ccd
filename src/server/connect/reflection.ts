import { create, type DescFile, type DescService, toBinary } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import type { ServiceImpl } from '@connectrpc/connect';
import { ServiceError } from '../../errors.ts';
import {
  type ServerReflection,
  type ServerReflectionRequest,
  ServerReflectionResponseSchema,
} from '../../gen/grpc/reflection/v1/reflection_pb.ts';

const NOT_FOUND = 5;
const UNIMPLEMENTED = 12;

/** gRPC server reflection over the services that are served: what grpcurl and its like ask. */
export function reflectionService(
  services: readonly DescService[],
  stopping: AbortSignal,
): ServiceImpl<typeof ServerReflection> {
  const files = new Map<string, DescFile>();
  const symbols = new Map<string, DescFile>();
  const add = (file: DescFile): void => {
    if (files.has(file.name)) return;
    files.set(file.name, file);
    for (const each of [...file.messages, ...file.enums, ...file.services]) symbols.set(each.typeName, file);
    for (const service of file.services)
      for (const method of service.methods) symbols.set(`${service.typeName}.${method.name}`, file);
    for (const dependency of file.dependencies) add(dependency);
  };
  for (const service of services) add(service.file);

  return {
    async *serverReflectionInfo(requests) {
      for await (const request of bounded(requests, stopping))
        yield create(ServerReflectionResponseSchema, {
          validHost: request.host,
          originalRequest: request,
          messageResponse: answer(request),
        });
    },
  };

  function answer({ messageRequest }: ServerReflectionRequest) {
    switch (messageRequest.case) {
      case 'listServices':
        return {
          case: 'listServicesResponse',
          value: { service: services.map(({ typeName }) => ({ name: typeName })) },
        } as const;
      case 'fileByFilename':
        return described(files.get(messageRequest.value.replace(/\.proto$/, '')));
      case 'fileContainingSymbol':
        return described(symbols.get(messageRequest.value));
      default:
        return failed(UNIMPLEMENTED, 'there are no extensions here');
    }
  }
}

const MAX_QUESTIONS = 1_000;

/** Until the server stops, or so much was asked that nobody asks it to learn of a service. */
async function* bounded<T>(requests: AsyncIterable<T>, stopping: AbortSignal): AsyncGenerator<T> {
  const stopped = new Promise<undefined>((resolve) => {
    if (stopping.aborted) resolve(undefined);
    else stopping.addEventListener('abort', () => resolve(undefined), { once: true });
  });
  const iterator = requests[Symbol.asyncIterator]();
  for (let asked = 0; asked < MAX_QUESTIONS; asked += 1) {
    const next = await Promise.race([iterator.next(), stopped]);
    if (!next || next.done) return;
    yield next.value;
  }
  throw new ServiceError('resource_exhausted', `a stream takes ${MAX_QUESTIONS} questions`);
}

/** The file and all it depends on, dependencies first, so that one answer is enough. */
function described(file: DescFile | undefined) {
  if (!file) return failed(NOT_FOUND, 'no such file or symbol');
  const ordered = new Map<string, Uint8Array>();
  const visit = (each: DescFile): void => {
    if (ordered.has(each.name)) return;
    for (const dependency of each.dependencies) visit(dependency);
    ordered.set(each.name, bytesOf(each));
  };
  visit(file);
  return {
    case: 'fileDescriptorResponse',
    value: { fileDescriptorProto: [...ordered.values()].toReversed() },
  } as const;
}

/** They never change, and everybody may ask. */
const bytes = new WeakMap<DescFile, Uint8Array>();

function bytesOf(file: DescFile): Uint8Array {
  const known = bytes.get(file);
  if (known) return known;
  const made = toBinary(FileDescriptorProtoSchema, file.proto);
  bytes.set(file, made);
  return made;
}

const failed = (errorCode: number, errorMessage: string) =>
  ({ case: 'errorResponse', value: { errorCode, errorMessage } }) as const;
