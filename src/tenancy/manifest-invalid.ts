import { ServiceError } from '../errors.ts';

/** The file of a tenant's folder that makes it one. */
export const MANIFEST = 'tenant.yaml';

/** `config_invalid`, with what is wrong apart from the file's name; `line` counts from 1, 0 where unknown. */
export class ManifestInvalid extends ServiceError {
  readonly problem: string;
  readonly line: number;

  constructor(file: string, problem: string, { cause, line = 0 }: { cause?: unknown; line?: number } = {}) {
    super('config_invalid', `${file}: ${problem}`, { cause });
    this.problem = problem;
    this.line = line;
  }
}
