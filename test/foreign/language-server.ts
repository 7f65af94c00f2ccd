import { type ChildProcess, spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

/** What an editor says to a language server of its extensions (LSP 3.17, over standard input and output). */

export interface Finding {
  /** From 1, as editors count. */
  readonly line: number;
  readonly message: string;
}

interface Message {
  readonly id?: number | string;
  readonly method?: string;
  readonly params?: unknown;
  readonly result?: unknown;
}

const WAIT_MS = 50_000;
const AGAIN_MS = 3_000;

export class LanguageServer implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #folder: string;
  readonly #settings: Readonly<Record<string, unknown>>;
  readonly #answers = new Map<number | string, (result: unknown) => void>();
  readonly #findings = new Map<string, (found: readonly Finding[]) => void>();
  readonly #versions = new Map<string, number>();
  #bytes = Buffer.alloc(0);
  #asked = 0;

  /** `settings`: of the workspace, by their names with dots. */
  constructor(
    [program = '', ...args]: readonly string[],
    folder: string,
    settings: Readonly<Record<string, unknown>>,
  ) {
    this.#folder = folder;
    this.#settings = settings;
    this.#child = spawn(program, args, { cwd: folder, stdio: ['pipe', 'pipe', 'ignore'] });
    this.#child.stdout?.on('data', (chunk: Buffer) => this.#read(chunk));
  }

  async start(): Promise<void> {
    const rootUri = pathToFileURL(this.#folder).href;
    await this.#ask('initialize', {
      processId: process.pid,
      rootUri,
      workspaceFolders: [{ uri: rootUri, name: 'tenant' }],
      capabilities: {
        workspace: { configuration: true, workspaceFolders: true },
        textDocument: { publishDiagnostics: {}, completion: {} },
      },
      initializationOptions: {},
    });
    this.#send({ method: 'initialized', params: {} });
    this.#send({ method: 'workspace/didChangeConfiguration', params: { settings: {} } });
  }

  /** Opens or changes a file as somebody types it; resolves with what is found in it once that is what is looked for. */
  async findings(
    file: string,
    text: string,
    isDone: (found: readonly Finding[]) => boolean,
  ): Promise<readonly Finding[]> {
    const uri = pathToFileURL(path.join(this.#folder, file)).href;
    let last: readonly Finding[] = [];
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#findings.set(uri, (found) => {
      last = found;
      if (isDone(found)) resolve();
    });
    // What is typed before a server has read its settings is looked at again with the next key.
    const again = setInterval(() => this.#show(uri, text), AGAIN_MS);
    try {
      this.#show(uri, text);
      await within(promise, () => `${file} has only ${JSON.stringify(last)}`);
    } finally {
      clearInterval(again);
    }
    return last;
  }

  #show(uri: string, text: string): void {
    const version = (this.#versions.get(uri) ?? 0) + 1;
    this.#versions.set(uri, version);
    const languageId = uri.endsWith('.rego') ? 'rego' : 'yaml';
    this.#send(
      version === 1
        ? { method: 'textDocument/didOpen', params: { textDocument: { uri, languageId, version, text } } }
        : {
            method: 'textDocument/didChange',
            params: { textDocument: { uri, version }, contentChanges: [{ text }] },
          },
    );
  }

  /** What is offered at a place, which counts from 0 as the protocol does. */
  async offers(file: string, line: number, character: number): Promise<readonly string[]> {
    const uri = pathToFileURL(path.join(this.#folder, file)).href;
    const result = (await this.#ask('textDocument/completion', {
      textDocument: { uri },
      position: { line, character },
    })) as { items: { label: string }[] } | { label: string }[];
    return (Array.isArray(result) ? result : result.items).map(({ label }) => label);
  }

  read(file: string): Promise<string> {
    return readFile(path.join(this.#folder, file), 'utf8');
  }

  async #ask(method: string, params: unknown): Promise<unknown> {
    this.#asked += 1;
    const id = this.#asked;
    const { promise, resolve } = Promise.withResolvers<unknown>();
    this.#answers.set(id, resolve);
    this.#send({ id, method, params });
    return await within(promise, () => `no answer to ${method}`);
  }

  #send(message: Message): void {
    const body = Buffer.from(JSON.stringify({ jsonrpc: '2.0', ...message }));
    this.#child.stdin?.write(`Content-Length: ${body.length}\r\n\r\n`);
    this.#child.stdin?.write(body);
  }

  #read(chunk: Buffer): void {
    this.#bytes = Buffer.concat([this.#bytes, chunk]);
    for (;;) {
      const head = this.#bytes.indexOf('\r\n\r\n');
      const length = Number(
        /content-length: (\d+)/i.exec(this.#bytes.toString('latin1', 0, Math.max(0, head)))?.[1],
      );
      if (head < 0 || this.#bytes.length < head + 4 + length) return;
      const message = JSON.parse(this.#bytes.toString('utf8', head + 4, head + 4 + length)) as Message;
      this.#bytes = this.#bytes.subarray(head + 4 + length);
      this.#hear(message);
    }
  }

  #hear({ id, method, params, result }: Message): void {
    if (method === undefined) {
      if (id !== undefined) this.#answers.get(id)?.(result);
    } else if (method === 'textDocument/publishDiagnostics') {
      const { uri, diagnostics } = params as {
        uri: string;
        diagnostics: { range: { start: { line: number } }; message: string }[];
      };
      this.#findings.get(uri)?.(
        diagnostics.map(({ range, message }) => ({ line: range.start.line + 1, message })),
      );
    } else if (id !== undefined) {
      const { items } = (params ?? {}) as { items?: { section?: string }[] };
      // All that it asks besides is for leave, such as to register something.
      const answer = method === 'workspace/configuration' ? items?.map((item) => this.#section(item)) : null;
      this.#send({ id, result: answer });
    }
  }

  /** As an editor has it: `yaml.schemas` is `schemas` of the section `yaml`. */
  #section({ section = '' }: { readonly section?: string }): unknown {
    const below = Object.entries(this.#settings).filter(([name]) => name.startsWith(`${section}.`));
    return below.length === 0
      ? null
      : Object.fromEntries(below.map(([name, value]) => [name.slice(section.length + 1), value]));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#child.kill('SIGKILL');
    await ended;
  }
}

async function within<T>(work: Promise<T>, said: () => string): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error(said())), WAIT_MS);
  try {
    return await Promise.race([work, promise]);
  } finally {
    clearTimeout(timer);
  }
}
