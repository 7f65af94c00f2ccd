/** OPA's own report of a test: what `opa test --format json` answers (v1/tester.Result), passed on as it is. */
export interface Opinion {
  readonly location: { readonly file: string; readonly row: number; readonly col: number };
  readonly package: string;
  readonly name: string;
  readonly fail?: boolean;
  readonly skip?: boolean;
  /** An error of the evaluation, or a list of the compiler's. */
  readonly error?: unknown;
  /** Nanoseconds. */
  readonly duration: number;
  /** What the test printed, base64. */
  readonly output?: string;
  readonly sub_results?: Cases;
  readonly [member: string]: unknown;
}

export type Cases = Readonly<Record<string, Case>>;

/** A case of a test, or a group of them. */
export interface Case {
  readonly name?: string;
  readonly fail?: boolean;
  readonly sub_results?: Cases;
}

/** Undefined if it is no report: OPA then says on its standard error why. */
export function opinionsIn(stdout: string): Opinion[] | undefined {
  try {
    const report: unknown = JSON.parse(stdout);
    return Array.isArray(report) ? (report as Opinion[]) : undefined;
  } catch {
    return undefined;
  }
}

/** The evaluator ends itself after five seconds: then it has no opinion. */
export const gaveUp = (error: unknown): boolean => codesIn(error).includes('eval_cancel_error');

export const messagesIn = (error: unknown): string[] =>
  errorsIn(error).map(({ code, message, location }) => {
    const place = location?.file ? `${location.file}:${location.row ?? 0}: ` : '';
    return `${place}${code === undefined ? '' : `${code}: `}${message ?? 'unknown'}`;
  });

const codesIn = (error: unknown): string[] => errorsIn(error).map(({ code }) => code ?? '');

interface OpaError {
  readonly code?: string;
  readonly message?: string;
  readonly location?: { readonly file?: string; readonly row?: number };
}

const errorsIn = (error: unknown): OpaError[] => {
  if (error === undefined || error === null) return [];
  const list: unknown[] = Array.isArray(error) ? error : [error];
  return list.map((each) => (typeof each === 'object' && each !== null ? each : { message: String(each) }));
};
