import { compareValues, isArray, isNumber, RegoObject, type Value } from '../../values/values.ts';
import { invalidType, mustBeOfAn } from './messages.ts';

/** What a schema's members may be. */

export const isSchema = (value: Value): boolean => typeof value === 'boolean' || value instanceof RegoObject;

export function textIn(document: RegoObject, name: string): string | undefined {
  const value = document.get(name);
  if (value !== undefined && typeof value !== 'string') throw invalidType('string', name);
  return value;
}

export function listIn(document: RegoObject, name: string): readonly Value[] | undefined {
  const value = document.get(name);
  if (value !== undefined && !isArray(value)) throw mustBeOfAn(name, 'array');
  return value;
}

export const isPositive = (value: Value): boolean => isNumber(value) && compareValues(value, 0) > 0;
