import { ServiceError } from '../errors.ts';

/** The file of a tenant's folder that makes it one. */
export const MANIFEST = 'tenant.yaml';

/** In characters: a name may be as long as the file, and there may be thousands; what is told is printed and logged. */
const longestProblem = 1_000;

/** `config_invalid`, with what is wrong apart from the file's name; `line` counts from 1, 0 where unknown. */
export class ManifestInvalid extends ServiceError {
  readonly problem: string;
  readonly line: number;

  constructor(file: string, problem: string, { cause, line = 0 }: { cause?: unknown; line?: number } = {}) {
    const told = problem.length > longestProblem ? `${problem.slice(0, longestProblem)} …` : problem;
    super('config_invalid', `${file}${line === 0 ? '' : `:${line}`}: ${told}`, { cause });
    this.problem = told;
    this.line = line;
  }
}
