import { LRUCache } from 'lru-cache';
import { RE2JS } from 're2js';
import { type BuiltinContext, BuiltinError } from '../builtin.ts';
import { type PatternSize, sizeOf } from './size.ts';

/** Fuel units to read a character of a pattern, and to make an instruction of its program: measured, 1.7 µs. */
const unitsPerCharacterRead = 2_000;
const unitsPerInstruction = 5_000;
/** Fuel units of an expression, and of a class of Unicode in it, which folding the case makes slow: 100 µs measured. */
const unitsPerExpression = 8_000;
const unitsPerUnicodeClass = 250_000;

/**
 * What a pattern compiles to depends on nothing else, so it is shared by all tenants of a thread; the cost is charged
 * regardless. Bounded by size, some 100 bytes an instruction: about 50 MB; what would take more than a fiftieth of it is
 * compiled anew each time, so that no expression puts out many others.
 */
const largestSize = 500_000;
const largestEntry = largestSize / 50;
/** A class of Unicode has hundreds of ranges. */
const sizePerUnicodeClass = 500;

const compiled = new LRUCache<string, RE2JS>({ maxSize: largestSize, maxEntrySize: largestEntry });

/** The size of all that is kept, in instructions. */
export function keptSize(): number {
  return compiled.calculatedSize;
}

/** @throws BuiltinError for what is no regular expression of Go's */
export function compile(pattern: string, context: BuiltinContext): RE2JS {
  context.spend(unitsPerExpression + pattern.length * unitsPerCharacterRead);
  const size = sizeOf(pattern);
  context.spend(size.instructions * unitsPerInstruction + size.unicodeClasses * unitsPerUnicodeClass);
  const known = compiled.get(pattern);
  if (known) return known;
  let expression: RE2JS;
  try {
    expression = RE2JS.compile(pattern);
  } catch (cause) {
    throw new BuiltinError('not a regular expression', { cause });
  }
  compiled.set(pattern, expression, { size: weightOf(pattern, size) });
  return expression;
}

function weightOf(pattern: string, { instructions, unicodeClasses }: PatternSize): number {
  return 1 + instructions + pattern.length + unicodeClasses * sizePerUnicodeClass;
}
