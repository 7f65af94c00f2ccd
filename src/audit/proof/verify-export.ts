import { createHash } from 'node:crypto';
import { z } from 'zod';
import { fromBase64 } from '../../merkle/base64.ts';
import { type Hash, isHash } from '../../merkle/hashes.ts';
import type { Policy } from '../../merkle/policy.ts';
import { LogVerification, type Verdict } from './verification.ts';

/** The longest line there is: an entry of 64 KiB, and its index around it. */
const MOST_LINE_BYTES = 65_535 + 64;

const manifestSchema = z.strictObject({
  mandate_export: z.literal(1),
  format: z.string(),
  origin: z.string().min(1),
  /** The signed note, as it was served: whoever has the log's key can tell whose it is. */
  checkpoint: z.string(),
  files: z
    .array(
      z.strictObject({
        name: z.string().regex(/^[^/\\]+$/),
        bytes: z.int().min(0),
        sha256: z.string().regex(/^[0-9a-f]{64}$/),
        /** Indexes: of the first entry, and of the one after the last. */
        from: z.literal(0),
        to: z.int().min(0),
      }),
    )
    .length(1),
});

/** What ties an exported file to the log: which entries it holds, and the checkpoint that states them. */
export type Manifest = z.infer<typeof manifestSchema>;

/** Throws, in its reader's words. */
export function parseManifest(text: string): Manifest {
  const parsed = manifestSchema.safeParse(JSON.parse(text));
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new Error(`the manifest is none of an export: ${issue?.path.join('.')}: ${issue?.message}`);
}

/** Verifies an export of JSON Lines by its manifest; `chunks` are the bytes of its file. */
export async function verifyExport(
  { origin, checkpoint, files: [file] }: Manifest,
  chunks: AsyncIterable<Uint8Array>,
  policy: Policy,
  kept: readonly { readonly what: string; readonly source: string }[],
  progress: (done: number, total: number) => void,
): Promise<Verdict> {
  const log = new LogVerification(origin);
  for (const each of [{ what: 'the checkpoint of its manifest', source: checkpoint }, ...kept])
    log.expect(each.source, policy, each.what);
  const digest = createHash('sha256');
  const [size, said] = [file?.to ?? 0, file?.sha256];
  for await (const line of linesIn(chunks, (chunk) => digest.update(chunk))) {
    if (log.entries === size) {
      log.fault(`it has more than the ${size} lines that its manifest says`);
      break;
    }
    const entry = entryIn(line, log.entries);
    const hash = entry ? undefined : hashIn(line, log.entries);
    if (entry) log.entry(entry);
    else if (hash) log.gone('archived or removed, or stand in a tile with some that were', hash);
    else log.missing();
    if (log.entries % 1_000 === 0) progress(log.entries, size);
  }
  if (log.entries === size && digest.digest('hex') !== said)
    log.fault('its SHA-256 is not that of its manifest');
  return log.verdict();
}

/** The bytes of the record on a line, if that is of this index. */
function entryIn(line: Buffer, index: number): Uint8Array | undefined {
  const head = Buffer.from(`{"index":${index},"record":`);
  const isLine = line.subarray(0, head.length).equals(head) && line.at(-1) === 0x7d;
  return isLine ? line.subarray(head.length, -1) : undefined;
}

/** The hash of an entry that was archived or removed, if the line is of that and of this index. */
function hashIn(line: Buffer, index: number): Hash | undefined {
  const head = `{"index":${index},"leaf_hash":"`;
  const text = line.toString('latin1');
  if (!text.startsWith(head) || !text.endsWith('"}')) return undefined;
  const hash = fromBase64(text.slice(head.length, -2));
  return hash && isHash(hash) ? hash : undefined;
}

/** Without their ends. One that is too long is cut: no entry is, and no more of it is kept. */
async function* linesIn(
  chunks: AsyncIterable<Uint8Array>,
  hear: (chunk: Uint8Array) => void,
): AsyncGenerator<Buffer> {
  let rest = Buffer.alloc(0);
  for await (const chunk of chunks) {
    hear(chunk);
    const bytes = Buffer.concat([rest, chunk]);
    let from = 0;
    for (let end = bytes.indexOf(0x0a); end >= 0; end = bytes.indexOf(0x0a, from)) {
      yield bytes.subarray(from, end);
      from = end + 1;
    }
    rest = bytes.subarray(from).subarray(0, MOST_LINE_BYTES);
  }
  if (rest.length > 0) yield rest;
}
