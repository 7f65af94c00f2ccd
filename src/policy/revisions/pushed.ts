import { isRead, problemOf } from '../../tenancy/folder/names.ts';
import { MAX_DATA_BYTES, MAX_REGO_BYTES, MAX_REGO_FILES } from '../../tenancy/folder/read.ts';
import { MANIFEST } from '../../tenancy/manifest-invalid.ts';
import { type Diagnostic, policyInvalid } from '../diagnostics.ts';
import type { SourceFile } from '../sources.ts';

/**
 * Files that somebody pushed, by name in the order of the names: held to what a tenant's folder is held to. Throws
 * `policy_invalid` naming each that is not taken; none is left out in silence.
 */
export function pushedFiles(files: readonly SourceFile[]): ReadonlyMap<string, Buffer> {
  const wrong: Diagnostic[] = [];
  const taken = new Map<string, Buffer>();
  const left = { rego: MAX_REGO_BYTES, data: MAX_DATA_BYTES };
  let rego = 0;
  for (const { path, bytes } of files.toSorted((a, b) => (a.path < b.path ? -1 : 1))) {
    const kind = path.endsWith('.rego') ? 'rego' : 'data';
    rego += kind === 'rego' ? 1 : 0;
    left[kind] -= bytes.length;
    const problem = taken.has(path) ? 'it stands twice' : nameProblem(path);
    if (problem !== undefined) wrong.push({ file: path.slice(0, 256), line: 0, message: problem });
    taken.set(path, Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length));
  }
  if (rego > MAX_REGO_FILES) wrong.push(whole(`more than ${MAX_REGO_FILES} Rego files`));
  if (left.rego < 0) wrong.push(whole(`more than ${MAX_REGO_BYTES} bytes of Rego in all`));
  if (left.data < 0) wrong.push(whole(`more than ${MAX_DATA_BYTES} bytes of data in all`));
  if (wrong.length > 0) throw policyInvalid(wrong);
  return taken;
}

const whole = (message: string): Diagnostic => ({ file: 'policy', line: 0, message });

function nameProblem(path: string): string | undefined {
  if (path === MANIFEST) return 'it is of the tenant and no part of a revision';
  const parts = path.split('/');
  if (parts.some((part) => part === '' || part === '.' || part === '..')) return 'it is no name of a file';
  return problemOf(path) ?? (isRead(path) ? undefined : 'it is neither Rego nor data.json or data.yaml');
}
