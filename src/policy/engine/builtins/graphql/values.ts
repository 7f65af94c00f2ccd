import { type BuiltinContext, BuiltinError } from '../builtin.ts';
import type { Node } from './nodes.ts';
import { valueKind } from './parsing.ts';
import type { TypeInfo } from './types.ts';
import type { Expected } from './walking.ts';

const builtInScalars = new Set(['Int', 'Float', 'String', 'Boolean', 'ID']);
const unitsPerField = 300;

const fits: Readonly<Record<number, readonly string[]>> = {
  [valueKind.int]: ['Int', 'Float', 'ID'],
  [valueKind.float]: ['Float'],
  [valueKind.string]: ['String', 'ID'],
  [valueKind.block]: ['String', 'ID'],
  [valueKind.boolean]: ['Boolean'],
};

/** Values are of the types that are expected of them (October 2021 section 5.6.1), by what they are written as. */
export function checkValue(value: Node<'Value'>, { type, info }: Expected, context: BuiltinContext): void {
  if (!info) return;
  const { Kind: kind } = value;
  const refuse = (): never => {
    throw new BuiltinError('a value is of another type');
  };
  if (kind === valueKind.null) {
    if (type.NonNull) refuse();
    return;
  }
  // What a scalar of one's own takes nobody knows.
  if (info.kind === 'SCALAR' && !builtInScalars.has(info.name)) return;
  if (kind < 0 || kind > valueKind.object || !isReadable(value)) refuse();
  if (kind === valueKind.variable) return;
  if (kind === valueKind.list) {
    if (!type.Elem) refuse();
  } else if (kind === valueKind.enum) {
    context.spend(info.enumValues.length * unitsPerField);
    if (info.kind !== 'ENUM' || !info.enumValues.some(({ Name: name }) => name === value.Raw)) refuse();
  } else if (kind === valueKind.object) checkObject(value, info, context);
  else if (!fits[kind]?.includes(info.name)) refuse();
}

/** Integers are of 64 bits, and floats of 64 too, wherever they are in a value. */
function isReadable({ Kind: kind, Raw: raw, Children: children }: Node<'Value'>): boolean {
  if (kind === valueKind.int) {
    if (!/^[+-]?\d+$/.test(raw) || raw.replace(/^[+-]?0*/, '').length > 19) return false;
    const value = BigInt(raw.replace(/^\+/, ''));
    return value < 1n << 63n && value >= -(1n << 63n);
  }
  if (kind === valueKind.float) return Number.isFinite(Number(raw)) && raw !== '';
  return kind !== valueKind.list && kind !== valueKind.object
    ? true
    : children.every(({ Value: inner }) => inner === undefined || isLiteral(inner));
}

/** Those within are looked at on their own; here only what makes reading the whole fail. */
function isLiteral(value: Node<'Value'>): boolean {
  return value.Kind === valueKind.list || value.Kind === valueKind.object ? true : isReadable(value);
}

function checkObject(value: Node<'Value'>, info: TypeInfo, context: BuiltinContext): void {
  context.spend((info.fieldList.length + value.Children.length) * unitsPerField);
  const given = new Set(value.Children.map(({ Name: name }) => name));
  for (const { Name: name, Type: type, DefaultValue: fallback } of info.fieldList)
    if (type?.NonNull && !fallback && !given.has(name)) throw new BuiltinError('a field is required');
  if (info.directives.some(({ Name: name }) => name === 'oneOf')) {
    const [only, ...others] = value.Children;
    if (!only || others.length > 0 || only.Value?.Kind === valueKind.null)
      throw new BuiltinError('exactly one field must be given');
  }
  for (const name of given) if (!info.fields.has(name)) throw new BuiltinError('a field is not defined');
}
