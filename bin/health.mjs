#!/usr/bin/env node
// Exits 0 if the server beside it answers that it is ready, 1 if not, 2 if it is not asked rightly; for the probes of
// containers, where starting the whole command each few seconds would cost more than the server at rest.
//   node bin/health.mjs [http://127.0.0.1:7400/readyz | unix:/run/mandate/mandate.sock] (or MANDATE_HEALTH_URL)
import http from 'node:http';
import https from 'node:https';

const TIMEOUT_MS = 2_000;
const DEFAULT = 'http://127.0.0.1:7400/readyz';

const end = (code, line) => {
  process[code === 0 ? 'stdout' : 'stderr'].write(`${line}\n`);
  process.exit(code);
};

const given = process.argv[2] ?? process.env.MANDATE_HEALTH_URL ?? DEFAULT;
const url = URL.canParse(given) ? new URL(given) : undefined;
const isSocket = url?.protocol === 'unix:';
if (!url || !['http:', 'https:', 'unix:'].includes(url.protocol)) end(2, `health: "${given}" is no address`);

const target = isSocket ? { socketPath: url.pathname, path: '/readyz' } : { path: url.pathname };
const place = isSocket ? {} : { host: url.hostname.replace(/^\[|\]$/g, ''), port: url.port };
// As a kubelet does: nothing is sent that is secret, nothing is believed but that it is ready. The certificate names the
// service, not this machine.
const trust = url.protocol === 'https:' ? { rejectUnauthorized: false } : {};
const request = (url.protocol === 'https:' ? https : http).get(
  { ...place, ...target, ...trust, signal: AbortSignal.timeout(TIMEOUT_MS) },
  (response) => {
    response.resume();
    end(response.statusCode === 200 ? 0 : 1, `health: ${response.statusCode}`);
  },
);
request.on('error', (error) => end(1, `health: ${error.message}`));
