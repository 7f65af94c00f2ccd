import type { Builtin } from './builtin.ts';

export const hostBuiltins: ReadonlyMap<string, Builtin> = new Map();
