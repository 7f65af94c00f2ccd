import { ServiceError } from '../../../errors.ts';
import type { HttpRequest } from '../exchange.ts';
import { parseJson } from '../json.ts';

/** As OPA takes it: whatever its content type, gzipped or not; an empty body is none. */
export async function postedValue(request: HttpRequest): Promise<unknown> {
  const body = await request.body();
  return body.length === 0 ? undefined : parseJson(body);
}

/** The same of a body that is an object. */
export async function postedObject(request: HttpRequest): Promise<Readonly<Record<string, unknown>>> {
  const value = (await postedValue(request)) ?? {};
  if (typeof value !== 'object' || Array.isArray(value))
    throw new ServiceError('invalid_request', 'the body is a JSON object');
  return value as Record<string, unknown>;
}
