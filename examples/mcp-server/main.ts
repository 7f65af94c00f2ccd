import http from 'node:http';
import { documentsApi } from './documents.ts';
import { listenerOf } from './http.ts';
import { Mandate } from './mandate.ts';
import { documentServer } from './server.ts';

/** Starts the server and its upstream on this machine. */

const {
  MANDATE_ISSUER: issuer = 'http://127.0.0.1:7400/t/acme',
  SERVER_ID: clientId = 'docs-mcp',
  SERVER_SECRET: clientSecret = 'acme-docs-mcp-demo-secret-000000001',
  SERVER_URL = 'http://127.0.0.1:7500/mcp',
  API_SECRET = 'acme-docs-api-demo-secret-000000001',
  API_URL = 'http://127.0.0.1:7501',
} = process.env;

const api = documentsApi(new Mandate({ issuer, clientId: 'docs-api', clientSecret: API_SECRET }));
api.listen(Number(new URL(API_URL).port), '127.0.0.1');

const url = new URL(SERVER_URL);
const answer = documentServer({
  url,
  mandate: new Mandate({ issuer, clientId, clientSecret }),
  upstream: { url: API_URL, audience: 'docs-api' },
});
http
  .createServer(listenerOf(url.origin, answer))
  .listen(Number(url.port), '127.0.0.1', () => process.stdout.write(`${url.href} is served\n`));
