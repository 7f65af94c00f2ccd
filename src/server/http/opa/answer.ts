import { ServiceError } from '../../../errors.ts';
import { errorResponse, type HttpRequest, type HttpResponse } from '../exchange.ts';
import { indented } from './pretty.ts';

/** Members of an answer, their values as JSON text: a result may hold numbers that no JavaScript value does. */
export type Members = Readonly<Record<string, string | undefined>>;

export const objectOf = (members: Members): string =>
  `{${Object.entries(members)
    .flatMap(([name, text]) => (text === undefined ? [] : [`${JSON.stringify(name)}:${text}`]))
    .join(',')}}`;

export const answered = (text: string, pretty: boolean, status = 200): HttpResponse => ({
  status,
  headers: { 'content-type': 'application/json' },
  body: pretty ? `${indented(text)}\n` : text,
});

/** An error in OPA's form, its code Mandate's. */
export function refused(error: unknown, request: HttpRequest): HttpResponse {
  const { body, ...rest } = errorResponse(error, `${request.method} ${request.url.pathname}`);
  const { error: code, error_description: message } = body as Record<string, string>;
  return { ...rest, body: { code, message } };
}

/** The parts of a path below `data`, each percent-encoded. Throws `invalid_request`. */
export function pathOf(text: string): string {
  return text
    .replace(/\/$/, '')
    .split('/')
    .map((part) => {
      try {
        const decoded = decodeURIComponent(part);
        // No name of a rule's or a member's that an entry point could say.
        return decoded.includes('/') ? part : decoded;
      } catch (cause) {
        throw new ServiceError('invalid_request', 'the path is not UTF-8, percent-encoded', { cause });
      }
    })
    .join('/');
}
