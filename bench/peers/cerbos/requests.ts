import path from 'node:path';
import { loadSync, type MethodDefinition, type ServiceDefinition } from '@grpc/proto-loader';
import { frame } from '../../harness/grpc.ts';
import type { Question } from '../../scenario/questions.ts';

/** The scenario's questions as Cerbos is asked them: with the principal's attributes, since it keeps none. */
interface CheckResourcesResponse {
  readonly results: readonly { readonly actions: Readonly<Record<string, string>> }[];
}

const definition = loadSync(path.join(import.meta.dirname, 'cerbos.proto'), { enums: String, arrays: true });
const service = definition['cerbos.svc.v1.CerbosService'] as ServiceDefinition;
const method = service['CheckResources'] as MethodDefinition<object, CheckResourcesResponse>;

const value = (plain: string | number | boolean) => {
  if (typeof plain === 'string') return { stringValue: plain };
  return typeof plain === 'number' ? { numberValue: plain } : { boolValue: plain };
};

const attributes = (from: Readonly<Record<string, string | number | boolean>>) =>
  Object.fromEntries(Object.entries(from).map(([name, plain]) => [name, value(plain)]));

/** One principal and action over one or more resources. */
export function checkFrame(by: Question, asked: readonly Question[]): Buffer {
  const { id, role, department, clearance } = by.principal;
  return frame(
    method.requestSerialize({
      requestId: 'bench',
      principal: { id, roles: [role], attr: attributes({ department, clearance }) },
      resources: asked.map(({ document: { id: document, ...facts } }) => ({
        actions: [by.action],
        resource: { kind: 'document', id: document, attr: attributes(facts) },
      })),
    }),
  );
}

/** Whether each resource's action is allowed. */
export const allowedIn = (message: Buffer): boolean[] =>
  method
    .responseDeserialize(message)
    .results.map(({ actions }) => Object.values(actions).every((effect) => effect === 'EFFECT_ALLOW'));
