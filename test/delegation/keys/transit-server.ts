import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';

/**
 * As much of OpenBao's transit engine as is asked for, with what it answers to what is wrong; test/foreign/openbao.test.ts
 * has the same questions put to OpenBao itself.
 */

interface Item {
  readonly plaintext?: string;
  readonly ciphertext?: string;
  readonly associated_data?: string;
}

export interface TransitServer extends AsyncDisposable {
  readonly url: string;
  /** The tokens that it takes. */
  readonly tokens: Set<string>;
  /** What was asked, by path. */
  readonly asked: string[];
  /** Answers in the server's place, where it answers `true`. */
  answer: (request: http.IncomingMessage, response: http.ServerResponse) => boolean;
  /** Changes what it would have answered. */
  twist: (what: string, results: Record<string, unknown>[]) => unknown;
  rotate(): void;
  /** Nobody listens any more, until `listen`. */
  close(): Promise<void>;
  listen(): Promise<void>;
}

export const TOKEN = 's.a-token-that-nobody-is-to-see';
export const SECRET_ID = 'a-secret-id-that-nobody-is-to-see';

export async function startTransit(): Promise<TransitServer> {
  const versions = [randomBytes(32)];
  let port = 0;
  const server = http.createServer((request, response) => {
    void answered(request, response);
  });
  const self: TransitServer = {
    get url() {
      return `http://127.0.0.1:${port}`;
    },
    tokens: new Set([TOKEN]),
    asked: [],
    answer: () => false,
    twist: (_, results) => results,
    rotate: () => void versions.push(randomBytes(32)),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
    listen: async () => {
      await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
      ({ port } = server.address() as AddressInfo);
    },
    [Symbol.asyncDispose]: () => self.close(),
  };
  await self.listen();
  return self;

  async function answered(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const path = request.url ?? '';
    self.asked.push(path);
    if (self.answer(request, response)) return;
    const body = (await json(request)) as { batch_input?: Item[]; role_id?: string; secret_id?: string };
    const send = (status: number, value: object): void =>
      void response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));
    if (path === '/v1/auth/approle/login') {
      if (body.role_id !== 'mandate' || body.secret_id !== SECRET_ID)
        return send(400, { errors: ['invalid role or secret ID'] });
      const token = `s.${randomBytes(12).toString('hex')}`;
      self.tokens.add(token);
      return send(200, { auth: { client_token: token, lease_duration: 3_600 } });
    }
    if (!self.tokens.has(String(request.headers['x-vault-token'])))
      return send(403, { errors: ['permission denied'] });
    const [, what] = /^\/v1\/transit\/(encrypt|decrypt)\/mandate$/.exec(path) ?? [];
    if (!what || !body.batch_input) return send(404, { errors: [] });
    const results = body.batch_input.map(what === 'encrypt' ? encrypted : decrypted);
    const status = results.some(({ error }) => error !== undefined) ? 400 : 200;
    send(status, { data: { batch_results: self.twist(what, results) } });
  }

  function encrypted({ plaintext = '', associated_data: bound = '' }: Item): Record<string, unknown> {
    const nonce = randomBytes(12);
    const cipher = createCipheriv('aes-256-gcm', versions.at(-1) ?? '', nonce);
    cipher.setAAD(Buffer.from(bound, 'base64'));
    const text = Buffer.concat([
      nonce,
      cipher.update(plaintext, 'base64'),
      cipher.final(),
      cipher.getAuthTag(),
    ]);
    return {
      ciphertext: `vault:v${versions.length}:${text.toString('base64')}`,
      key_version: versions.length,
    };
  }

  function decrypted({ ciphertext = '', associated_data: bound = '' }: Item): Record<string, unknown> {
    const [, version = '', text = ''] = /^vault:v(\d+):(.*)$/.exec(ciphertext) ?? [];
    const key = versions[Number(version) - 1];
    if (!key) return { error: 'invalid ciphertext: version is not known' };
    const bytes = Buffer.from(text, 'base64');
    try {
      const cipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, 12));
      cipher.setAAD(Buffer.from(bound, 'base64')).setAuthTag(bytes.subarray(-16));
      const plain = Buffer.concat([cipher.update(bytes.subarray(12, -16)), cipher.final()]);
      return { plaintext: plain.toString('base64') };
    } catch {
      return { plaintext: '', error: 'cipher: message authentication failed' };
    }
  }
}
