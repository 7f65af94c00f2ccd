import { Worker } from 'node:worker_threads';
import { ServiceError } from '../../errors.ts';
import { type Manifest, readManifest } from '../manifest.ts';
import { ManifestInvalid } from '../manifest-invalid.ts';
import { canonicalAnswer } from './canonical.ts';
import {
  type AskedOfData,
  type Composed,
  composeDocuments,
  type DataDocument,
  NOTHING_ASKED,
} from './data.ts';
import { readTable, type TabledTest, TableInvalid } from './table.ts';

/** What the thread is asked, and what it answers: a value, or what is wrong. */
export type Question =
  | { readonly manifest: string; readonly file: string }
  | {
      readonly documents: readonly DataDocument[];
      readonly platform: unknown;
      readonly asked: AskedOfData;
    }
  | { readonly table: string }
  | { readonly canonical: string; readonly without: readonly string[] };
export type Answer =
  | { readonly manifest: Manifest }
  | { readonly problem: string; readonly line: number }
  | { readonly composed: Composed }
  | { readonly tests: readonly TabledTest[] }
  | { readonly canonical: string };

/**
 * Up to here a text is parsed where it is: the worst of that length takes some 50 ms, and a thread takes longer to
 * start. JSON is the runtime's own and a hundred times faster.
 */
const SMALL_YAML = 8 * 1024;
const SMALL_JSON = 256 * 1024;
/** A parser that has not come to an end is ended. In milliseconds. */
const TIMEOUT_MS = 10_000;
const IDLE_MS = 1_000;
const MAX_HEAP_MIB = 1_024;

/** Parses a tenant.yaml; a large one not on this thread. Throws `ManifestInvalid` with the place of the mistake. */
export async function parseManifestText(text: string, file: string): Promise<Manifest> {
  if (text.length <= SMALL_YAML) return readManifest(text, file);
  const answer = await forManifests.ask({ manifest: text, file });
  if ('manifest' in answer) return answer.manifest;
  throw 'problem' in answer
    ? new ManifestInvalid(file, answer.problem, { line: answer.line })
    : new ServiceError('internal', 'the parser answered something else');
}

/** The value of `data`; see `composeDocuments`. Large documents are not read on this thread. */
export async function composeData(
  documents: readonly DataDocument[],
  platform: unknown,
  asked: AskedOfData = NOTHING_ASKED,
): Promise<Composed> {
  const isSmall = (kind: 'json' | 'yaml', bytes: number): boolean =>
    documents
      .filter(([name]) => name.endsWith('.json') === (kind === 'json'))
      .reduce((sum, [, text]) => sum + text.length, 0) <= bytes;
  if (isSmall('json', SMALL_JSON) && isSmall('yaml', SMALL_YAML))
    return composeDocuments(documents, platform, asked);
  const answer = await forData.ask({ documents, platform, asked });
  if ('composed' in answer) return answer.composed;
  return {
    file: documents[0]?.[0] ?? 'data',
    line: 0,
    problem: 'problem' in answer ? answer.problem : 'it cannot be parsed',
  };
}

/** The tests of a `*_test.yaml`; a large one is not read on this thread. Throws `TableInvalid`. */
export async function parseTable(text: string): Promise<readonly TabledTest[]> {
  if (text.length <= SMALL_YAML) return readTable(text);
  const answer = await forData.ask({ table: text });
  if ('tests' in answer) return answer.tests;
  throw 'problem' in answer
    ? new TableInvalid(answer.problem, answer.line)
    : new ServiceError('internal', 'the parser answered something else');
}

/** See `canonicalJson`; a large document is not read on this thread. Answers what is wrong where it is none. */
export async function canonicalised(
  text: string,
  without: readonly string[] = [],
): Promise<{ readonly canonical: string } | { readonly problem: string }> {
  if (text.length <= SMALL_JSON) return canonicalAnswer(text, without);
  const answer = await forData.ask({ canonical: text, without });
  if ('canonical' in answer) return answer;
  return { problem: 'problem' in answer ? answer.problem : 'it cannot be parsed' };
}

/** One question at a time; it starts with the first and ends when it has had none for a while. */
class ParserThread {
  #worker: Worker | undefined;
  #last: Promise<unknown> = Promise.resolve();
  #idle: NodeJS.Timeout | undefined;

  ask(question: Question): Promise<Answer> {
    const answer = this.#last.then(() => this.#ask(question));
    this.#last = answer.catch(() => undefined);
    return answer;
  }

  async #ask(question: Question): Promise<Answer> {
    clearTimeout(this.#idle);
    const worker = (this.#worker ??= this.#start());
    worker.ref();
    const { promise, resolve } = Promise.withResolvers<Answer>();
    const failed = (problem: string) => (): void => {
      this.#worker = undefined;
      void worker.terminate();
      resolve({ problem, line: 0 });
    };
    const timer = setTimeout(failed('it takes too long to parse'), TIMEOUT_MS);
    // It has run out of its heap, or of its stack.
    const crashed = failed('it takes too much memory to parse');
    worker.once('message', resolve).once('error', crashed);
    worker.postMessage(question);
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      worker.off('message', resolve).off('error', crashed);
      worker.unref();
      this.#idle = setTimeout(() => this.#end(), IDLE_MS).unref();
    }
  }

  #start(): Worker {
    const file = import.meta.url.endsWith('.ts') ? './parser-thread.ts' : './parser-thread.js';
    const worker = new Worker(new URL(file, import.meta.url), {
      name: 'mandate-parser',
      env: {},
      resourceLimits: { maxOldGenerationSizeMb: MAX_HEAP_MIB, maxYoungGenerationSizeMb: 8 },
    });
    // Whoever asks hears of it; between questions nobody does.
    return worker.on('error', () => {});
  }

  #end(): void {
    void this.#worker?.terminate();
    this.#worker = undefined;
  }
}

/** Who is disabled in a manifest does not wait for somebody's data. */
const forManifests = new ParserThread();
const forData = new ParserThread();
