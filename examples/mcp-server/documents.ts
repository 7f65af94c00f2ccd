import http from 'node:http';
import type { Mandate, Resource } from './mandate.ts';

/** What there is, and what policies know of it. */
export const documents: readonly Resource[] = [
  {
    type: 'document',
    id: 'roadmap',
    properties: { project: 'apollo', sensitivity: 'internal', owner: 'dave' },
  },
  {
    type: 'document',
    id: 'handbook',
    properties: { project: 'hermes', sensitivity: 'public', owner: 'bob' },
  },
  {
    type: 'document',
    id: 'salaries',
    properties: { project: 'hermes', sensitivity: 'restricted', owner: 'carol' },
  },
];

const texts: Readonly<Record<string, string>> = {
  roadmap: 'Ship the thing.',
  handbook: 'Be kind.',
  salaries: 'Nobody has to know.',
};

/** The upstream: an API that hands out documents to whoever has a token for it, of its own. `GET /{id}`. */
export function documentsApi(mandate: Mandate): http.Server {
  const answer = async ({ url = '', headers }: http.IncomingMessage): Promise<[number, string]> => {
    const document = documents.find(({ id }) => url === `/${id}`);
    const token = /^Bearer (\S+)$/i.exec(headers.authorization ?? '')?.[1];
    if (token === undefined) return [401, 'a token is missing'];
    if (!document) return [404, 'no such document'];
    const [decided] = await mandate.check(token, ['document.read'], document);
    return decided?.decision === 'DECISION_ALLOW' ? [200, texts[document.id] ?? ''] : [403, 'not allowed'];
  };
  return http.createServer((request, response) => {
    answer(request)
      .catch((): [number, string] => [503, 'not decided'])
      .then(([status, text]) => response.writeHead(status, { 'content-type': 'text/plain' }).end(text))
      .catch(() => response.destroy());
  });
}
