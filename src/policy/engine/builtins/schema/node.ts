import type { RegoNumber } from '../../values/values.ts';
import type { Reference } from '../net/references.ts';
import type { Draft } from './pool.ts';

/** A schema that is compiled, keyword by keyword; what is left out says nothing. */
export interface SchemaNode {
  draft: Draft;
  /** What identifiers below are seen from. */
  id: Reference;
  /** `true` and `false`. */
  pass?: boolean;
  /** `$ref`: it alone counts then. */
  target?: SchemaNode;
  types: string[];
  properties?: Map<string, SchemaNode>;
  additionalProperties?: boolean | SchemaNode;
  patternProperties?: Map<string, SchemaNode>;
  propertyNames?: SchemaNode;
  dependencies?: Map<string, readonly string[] | SchemaNode>;
  items?: SchemaNode | SchemaNode[];
  additionalItems?: boolean | SchemaNode;
  multipleOf?: RegoNumber;
  minimum?: RegoNumber | undefined;
  exclusiveMinimum?: RegoNumber;
  maximum?: RegoNumber | undefined;
  exclusiveMaximum?: RegoNumber;
  minLength?: bigint;
  maxLength?: bigint;
  pattern?: string;
  format?: string;
  minProperties?: bigint;
  maxProperties?: bigint;
  required?: Set<string>;
  minItems?: bigint;
  maxItems?: bigint;
  uniqueItems?: boolean;
  contains?: SchemaNode;
  /** As JSON whose numbers are floats. */
  constant?: string;
  enum?: Set<string>;
  oneOf?: SchemaNode[];
  anyOf?: SchemaNode[];
  allOf?: SchemaNode[];
  not?: SchemaNode;
  if?: SchemaNode;
  then?: SchemaNode;
  else?: SchemaNode;
}
