import type { Use } from './rows.ts';

/** Classes of use, each of which has those before it: who may suggest may read. */
export const uses = ['read', 'suggest', 'act'] as const satisfies readonly Use[];

export const isUse = (value: unknown): value is Use => (uses as readonly unknown[]).includes(value);

/** The narrowest of some. */
export const narrowest = (...some: readonly Use[]): Use => uses.find((each) => some.includes(each)) ?? 'act';
