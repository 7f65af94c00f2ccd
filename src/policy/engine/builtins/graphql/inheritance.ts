import { type BuiltinContext, BuiltinError } from '../builtin.ts';
import type { Node } from './nodes.ts';
import type { Schema, TypeInfo } from './types.ts';

const unitsPerStep = 1_500;
/** Chains of types are followed by recursion. */
const deepest = 500;

/** Whether a type is what an interface of it asks for (October 2021 section 3.6.1). */
export function checkImplements(schema: Schema, type: TypeInfo, name: string, context: BuiltinContext): void {
  const required = schema.types.get(name);
  if (required?.kind !== 'INTERFACE' || name === type.name) throw new BuiltinError('not an interface');
  for (const field of required.fieldList) {
    context.spend(unitsPerStep);
    const found = type.fields.get(field.Name);
    if (!found || !isCovariant(schema, field.Type, found.Type, context))
      throw new BuiltinError('a field is not as required');
    checkArguments(field, found, context);
  }
  for (const each of required.interfaces) {
    context.spend(type.interfaces.length * 100);
    if (!type.interfaces.includes(each)) throw new BuiltinError('an interface of the interface is missing');
  }
}

function checkArguments(
  required: Node<'FieldDefinition'>,
  found: Node<'FieldDefinition'>,
  context: BuiltinContext,
): void {
  context.spend((required.Arguments.length + found.Arguments.length) * unitsPerStep);
  const given = new Map(found.Arguments.map((arg) => [arg.Name, arg]));
  const wanted = new Set(required.Arguments.map(({ Name: name }) => name));
  for (const arg of required.Arguments) {
    const other = given.get(arg.Name);
    if (!other || !isCompatible(arg.Type, other.Type))
      throw new BuiltinError('an argument is not as required');
  }
  for (const arg of found.Arguments)
    if (!wanted.has(arg.Name) && arg.Type?.NonNull && !arg.DefaultValue)
      throw new BuiltinError('an argument more is not optional');
}

type MaybeType = Node<'Type'> | undefined;

function isCovariant(
  schema: Schema,
  required: MaybeType,
  actual: MaybeType,
  context: BuiltinContext,
): boolean {
  if (!required || !actual || (required.NonNull && !actual.NonNull)) return false;
  if (required.NamedType === '') return isCovariant(schema, required.Elem, actual.Elem, context);
  if (required.NamedType === actual.NamedType) return true;
  const possible = schema.possible.get(required.NamedType) ?? [];
  context.spend(possible.length * 100);
  return possible.includes(actual.NamedType);
}

/** Whether what is of one type may stand where another is wanted. */
export function isCompatible(type: MaybeType, other: MaybeType): boolean {
  if (!type || !other || type.NamedType !== other.NamedType) return false;
  if (type.Elem && !isCompatible(type.Elem, other.Elem)) return false;
  return !other.NonNull || type.NonNull;
}

/** No input object needs itself. */
export function checkNoCircles(schema: Schema, context: BuiltinContext): void {
  const visited = new Set<string>();
  const path = new Set<string>();
  const visit = (type: TypeInfo): void => {
    context.spend(unitsPerStep * (1 + type.fieldList.length));
    if (visited.has(type.name)) return;
    if (path.size > deepest) throw new BuiltinError('nested too deeply');
    visited.add(type.name);
    path.add(type.name);
    for (const { Type: field } of type.fieldList) {
      const inner = field?.NonNull && field.NamedType !== '' ? schema.types.get(field.NamedType) : undefined;
      if (inner?.kind !== 'INPUT_OBJECT') continue;
      if (path.has(inner.name)) throw new BuiltinError('an input object needs itself');
      visit(inner);
    }
    path.delete(type.name);
  };
  for (const type of schema.types.values()) if (type.kind === 'INPUT_OBJECT') visit(type);
}
