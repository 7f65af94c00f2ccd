import { routed } from '../linking/calls.ts';
import type { Builtin } from './builtin.ts';
import { hostBuiltins } from './index.ts';

/** What a linked module calls instead of its own, in the order of their numbers. */
export const routedBuiltins: readonly Builtin[] = routed.map((name) => {
  const builtin = hostBuiltins.get(name);
  if (!builtin) throw new TypeError(`the engine lacks the built-in ${name}`);
  return builtin;
});
