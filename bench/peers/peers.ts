import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { startBare } from './bare/server.ts';
import { type CerbosPeer, startCerbos } from './cerbos/server.ts';
import { type MandatePeer, startMandate } from './mandate/server.ts';
import { type OpaPeer, startOpa } from './opa/server.ts';

/** The contenders, each started when first asked for. Disposing stops them. */
export class Peers implements AsyncDisposable {
  readonly #folder: string;
  readonly #stack = new AsyncDisposableStack();
  readonly #started = new Map<string, Promise<AsyncDisposable>>();

  constructor(folder: string) {
    this.#folder = folder;
  }

  mandate(): Promise<MandatePeer> {
    return this.#once('mandate', startMandate);
  }

  cerbos(): Promise<CerbosPeer> {
    return this.#once('cerbos', startCerbos);
  }

  opa(): Promise<OpaPeer> {
    return this.#once('opa', startOpa);
  }

  bare(): ReturnType<typeof startBare> {
    return this.#once('bare', async (folder) => startBare(folder, (await this.mandate()).unary));
  }

  #once<T extends AsyncDisposable>(name: string, start: (folder: string) => Promise<T>): Promise<T> {
    const known = this.#started.get(name) as Promise<T> | undefined;
    if (known) return known;
    const folder = path.join(this.#folder, name);
    mkdirSync(folder, { recursive: true });
    const starting = start(folder).then((peer) => this.#stack.use(peer));
    this.#started.set(name, starting);
    return starting;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.allSettled(this.#started.values());
    await this.#stack.disposeAsync();
  }
}
