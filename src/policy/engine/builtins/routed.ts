import { aliases, routed } from '../linking/calls.ts';
import type { Builtin } from './builtin.ts';
import { hostBuiltins } from './index.ts';

/** What a linked module calls instead of its own, in the order of their numbers. */
export const routedBuiltins: readonly (Builtin | undefined)[] = routed.map((name) => hostBuiltins.get(name));

/** Whether a name is another for a built-in that is routed. */
export const isAlias = (name: string): boolean => {
  const other = aliases[name];
  return other !== undefined && hostBuiltins.has(other);
};
