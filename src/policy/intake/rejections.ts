import { describe, type ErrorCode, ServiceError } from '../../errors.ts';
import { MANIFEST, ManifestInvalid } from '../../tenancy/manifest-invalid.ts';
import { BUNDLE, type Diagnostic, PolicyInvalid } from '../diagnostics.ts';
import { isOfTest } from '../testing/gate.ts';

/** Errors that say something of the files; any other says that they could not be taken now. */
const mistakes: ReadonlySet<ErrorCode> = new Set([
  'policy_invalid',
  'policy_undefined',
  'policy_failed',
  'policy_memory_exceeded',
  'deadline_exceeded',
  'config_invalid',
]);

export const isMistake = (error: unknown): error is ServiceError =>
  error instanceof ServiceError && mistakes.has(error.code);

export const untaken = (error: unknown): Diagnostic => ({
  file: UNTAKEN,
  line: 0,
  // Internals are for the operator's log alone.
  message: error instanceof ServiceError ? `${error.code}: ${error.message}` : 'internal: the server failed',
});

/** `file` is named where the error itself names no place. */
export function diagnosticsIn(error: unknown, file: string): readonly Diagnostic[] {
  if (error instanceof PolicyInvalid) return error.diagnostics;
  if (error instanceof ManifestInvalid) return [{ file, line: error.line, message: error.problem }];
  return [{ file, line: 0, message: describe(error) }];
}

/** Whether it is the manifest that was not taken: it is read before any Rego is looked at. */
export const isOfManifest = (diagnostics: readonly Diagnostic[]): boolean =>
  diagnostics.some(({ file }) => file === MANIFEST);

/** The place of what is nobody's mistake: the store or the disk failed, and the change is tried again. */
const UNTAKEN = 'server';

const isUntaken = (diagnostics: readonly Diagnostic[]): boolean =>
  diagnostics.some(({ file }) => file === UNTAKEN);

/** What is wrong with a tenant's folder, or with what was pulled for it, in a line. */
export function rejectionOf(diagnostics: readonly Diagnostic[]): string {
  if (isUntaken(diagnostics)) return 'a change on disk could not be taken yet, and is tried again';
  if (isOfManifest(diagnostics)) return `${MANIFEST} was not taken`;
  const [first] = diagnostics;
  if (first?.file === BUNDLE)
    return `the bundle of ${first.from ?? 'its source'} is not taken: ${first.message}`;
  const which = first?.from === undefined ? 'on disk' : `of ${first.from}`;
  return diagnostics.every(isOfTest)
    ? `tests of the policy ${which} fail`
    : `the policy ${which} does not compile`;
}
