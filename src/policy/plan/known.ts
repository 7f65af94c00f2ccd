import type { Rule } from '../testing/syntax.ts';

/** What is wrong with a rule, or with an expression, and where it stands. `file` is relative to the tenant's folder. */
export interface Problem {
  readonly file: string;
  readonly line: number;
  readonly message: string;
}

/** A rule with all that it is known by. */
export interface Known {
  readonly rule: Rule;
  readonly file: string;
  readonly line: number;
  /** `authz/sub/limit`: the package and the constant part of the name. */
  readonly path: string;
  /** By any of them it may be meant. */
  readonly names: readonly string[];
  readonly words: ReadonlySet<string>;
  /** Something takes all rules of the platform's data, or a package whose name is not said. */
  readonly takesAll: boolean;
  /** Imports what may be of the resource. */
  readonly readsResource: boolean;
}

export const isSet = ({ key, value }: Rule['head']): boolean => key !== undefined && value === undefined;
