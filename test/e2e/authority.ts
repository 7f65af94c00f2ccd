import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';

/** A certificate authority in a folder, by openssl. */

const run = promisify(execFile);

export interface Pair {
  /** Files, PEM. */
  readonly cert: string;
  readonly key: string;
  /** What is in them. */
  readonly pem: { readonly cert: string; readonly key: string };
}

export class Authority {
  readonly #folder: string;
  readonly #name: string;
  readonly ca: Pair;

  private constructor(folder: string, name: string, ca: Pair) {
    this.#folder = folder;
    this.#name = name;
    this.ca = ca;
  }

  static async create(folder: string, name: string): Promise<Authority> {
    const [cert, key] = [path.join(folder, `${name}.crt`), path.join(folder, `${name}.key`)];
    await openssl([
      'req',
      '-x509',
      ...NEW_KEY,
      '-keyout',
      key,
      '-out',
      cert,
      '-days',
      '2',
      '-subj',
      `/CN=${name}`,
    ]);
    return new Authority(folder, name, await pairOf(cert, key));
  }

  /** `more`: for `openssl req`. `names` are those of a subjectAltName by their kind and number, as in openssl's sections: `{'URI.1': 'spiffe://…'}`. */
  async issue(
    label: string,
    names: Readonly<Record<string, string>>,
    subject = `/CN=${label}`,
    more: readonly string[] = [],
  ): Promise<Pair> {
    const at = (suffix: string): string => path.join(this.#folder, `${this.#name}-${label}.${suffix}`);
    await openssl([
      'req',
      '-new',
      ...NEW_KEY,
      '-keyout',
      at('key'),
      '-out',
      at('csr'),
      '-subj',
      subject,
      ...more,
    ]);
    const lines = Object.entries(names).map(([kind, name]) => `${kind}=${name}`);
    await writeFile(
      at('ext'),
      lines.length === 0
        ? 'basicConstraints=CA:FALSE\n'
        : ['subjectAltName=@names', '[names]', ...lines, ''].join('\n'),
    );
    const signed = ['-CA', this.ca.cert, '-CAkey', this.ca.key, '-CAcreateserial', '-extfile', at('ext')];
    await openssl(['x509', '-req', '-in', at('csr'), '-out', at('crt'), '-days', '1', ...signed]);
    return pairOf(at('crt'), at('key'));
  }
}

const NEW_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];

const openssl = (parameters: readonly string[]): Promise<unknown> => run('openssl', parameters);

const pairOf = async (cert: string, key: string): Promise<Pair> => ({
  cert,
  key,
  pem: { cert: await readFile(cert, 'utf8'), key: await readFile(key, 'utf8') },
});
