import { BuiltinError } from '../builtin.ts';
import type { Node } from './nodes.ts';
import { valueKind } from './parsing.ts';

/** A type with its extensions, its fields by their names. */
export interface TypeInfo {
  readonly name: string;
  readonly kind: string;
  readonly isBuiltIn: boolean;
  readonly directives: Node<'Directive'>[];
  readonly interfaces: string[];
  readonly fieldList: Node<'FieldDefinition'>[];
  readonly fields: Map<string, Node<'FieldDefinition'>>;
  readonly types: string[];
  readonly enumValues: Node<'EnumValueDefinition'>[];
}

export interface DirectiveInfo {
  readonly name: string;
  readonly args: readonly Node<'ArgumentDefinition'>[];
  readonly directives: Node<'Directive'>[];
  readonly locations: readonly string[];
  readonly isRepeatable: boolean;
}

/** A schema that is sound. */
export interface Schema {
  readonly types: ReadonlyMap<string, TypeInfo>;
  readonly directives: ReadonlyMap<string, DirectiveInfo>;
  /** The objects that a type may stand for, itself among them. */
  readonly possible: ReadonlyMap<string, readonly string[]>;
  /** By the kind of operation. */
  readonly roots: ReadonlyMap<string, TypeInfo>;
}

/** The type within the lists. @throws BuiltinError if there is none, which only a document that was made has */
export function nameOf(type: Node<'Type'> | undefined): string {
  let inner = type;
  while (inner && inner.NamedType === '') inner = inner.Elem;
  if (!inner) throw new BuiltinError('a type is missing');
  return inner.NamedType;
}

export const isComposite = ({ kind }: TypeInfo): boolean =>
  kind === 'OBJECT' || kind === 'INTERFACE' || kind === 'UNION';
export const isInput = ({ kind }: TypeInfo): boolean =>
  kind === 'SCALAR' || kind === 'ENUM' || kind === 'INPUT_OBJECT';
export const isLeaf = ({ kind }: TypeInfo): boolean => kind === 'SCALAR' || kind === 'ENUM';

/** Given, and not as null. */
export const isGiven = (value: Node<'Value'> | undefined): boolean =>
  value !== undefined && value.Kind !== valueKind.null;
