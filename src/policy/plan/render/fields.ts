import { ServiceError } from '../../../errors.ts';
import type { Path } from '../condition.ts';

export const fieldTypes = ['text', 'number', 'boolean', 'json', 'texts', 'numbers'] as const;
/** What a column or field holds: `texts` and `numbers` are lists of scalars, `json` is whatever JSON can be. */
export type FieldType = (typeof fieldTypes)[number];

/**
 * What a row without a value stands for, as the caller tells it when it asks for a decision: it leaves the attribute out, it
 * gives null, or one or the other. With `either` such a row is selected where both would be allowed; with `never` there is none,
 * and if there is it is not selected for this attribute.
 */
export const nullMeanings = ['absent', 'null', 'either', 'never'] as const;
export type NullMeaning = (typeof nullMeanings)[number];

export interface Field {
  /** A column's name, or a field's with dots. */
  readonly name: string;
  readonly type: FieldType;
  /** Left out: `either`. */
  readonly null?: NullMeaning | undefined;
}

/** By attribute, such as `resource.properties.owner`. */
export type Fields = ReadonlyMap<string, Field>;

export interface Located {
  readonly field: Field;
  /** Members below it, of `json`. */
  readonly below: Path;
}

/** Where an attribute of the resource is kept. Throws `invalid_request` for one that is not said. */
export function locate(attribute: Path, fields: Fields): Located {
  const [head, part, ...members] = attribute;
  const known = fields.get([head, part, members[0]].filter((each) => each !== undefined).join('.'));
  if (!known)
    throw new ServiceError('invalid_request', `no column is given for ${attribute.join('.').slice(0, 256)}`);
  const below = members.slice(1);
  if (below.length > 0 && known.type !== 'json')
    throw new ServiceError(
      'invalid_request',
      `${known.name} is no json, and ${attribute.join('.').slice(0, 256)} is in it`,
    );
  return { field: known, below };
}

const NAME = /^[^\0]{1,128}$/;

/** Throws `invalid_request`. */
export function checkFields(fields: Fields): void {
  for (const [attribute, { name, type, null: meaning = 'either' }] of fields) {
    const isAttribute = attribute === 'resource.id' || /^resource\.properties\.[^.\0]+$/.test(attribute);
    if (!isAttribute)
      throw new ServiceError(
        'invalid_request',
        `${attribute} is not resource.id or resource.properties.<name>`,
      );
    if (!NAME.test(name))
      throw new ServiceError('invalid_request', `the column of ${attribute} has no name that can be one`);
    if (!fieldTypes.includes(type) || !nullMeanings.includes(meaning))
      throw new ServiceError(
        'invalid_request',
        `the column of ${attribute} is one of ${fieldTypes.join(', ')}, with a null that is ${nullMeanings.join(', ')}`,
      );
  }
}
