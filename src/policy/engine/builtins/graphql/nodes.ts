import { decodeUtf8 } from '../../values/utf8.ts';
import { isArray, isNumber, numberText, RegoObject, type Value } from '../../values/values.ts';
import { type BuiltinContext, BuiltinError } from '../builtin.ts';

/** A node of a document: the fields of a struct of gqlparser's, by their names. What is left out is nil. */
export interface Struct {
  readonly $: StructName;
}

/** A field is a text, a truth, an integer, texts, one struct, or a list of them; selections are of three kinds. */
type FieldKind = 'text' | 'truth' | 'integer' | 'texts' | 'selections' | StructName | readonly [StructName];

const definition = {
  Description: 'text',
  Name: 'text',
  Directives: ['Directive'],
  BeforeDescriptionComment: 'CommentGroup',
  AfterDescriptionComment: 'CommentGroup',
} as const;

/** The structs that Go's JSON has. */
const structs = {
  QueryDocument: {
    Operations: ['OperationDefinition'],
    Fragments: ['FragmentDefinition'],
    Comment: 'CommentGroup',
  },
  OperationDefinition: {
    Description: 'text',
    Operation: 'text',
    Name: 'text',
    VariableDefinitions: ['VariableDefinition'],
    Directives: ['Directive'],
    SelectionSet: 'selections',
    Comment: 'CommentGroup',
  },
  VariableDefinition: {
    Description: 'text',
    Variable: 'text',
    Type: 'Type',
    DefaultValue: 'Value',
    Directives: ['Directive'],
    Comment: 'CommentGroup',
    Used: 'truth',
  },
  FragmentDefinition: {
    Description: 'text',
    Name: 'text',
    VariableDefinition: ['VariableDefinition'],
    TypeCondition: 'text',
    Directives: ['Directive'],
    SelectionSet: 'selections',
    Comment: 'CommentGroup',
  },
  Field: {
    Alias: 'text',
    Name: 'text',
    Arguments: ['Argument'],
    Directives: ['Directive'],
    SelectionSet: 'selections',
    Comment: 'CommentGroup',
  },
  FragmentSpread: { Name: 'text', Directives: ['Directive'], Comment: 'CommentGroup' },
  InlineFragment: {
    TypeCondition: 'text',
    Directives: ['Directive'],
    SelectionSet: 'selections',
    Comment: 'CommentGroup',
  },
  Argument: { Name: 'text', Value: 'Value', Comment: 'CommentGroup' },
  Directive: { Name: 'text', Arguments: ['Argument'], Location: 'text' },
  Value: {
    Raw: 'text',
    Children: ['ChildValue'],
    Kind: 'integer',
    Comment: 'CommentGroup',
    ExpectedTypeHasDefault: 'truth',
  },
  ChildValue: { Name: 'text', Value: 'Value', Comment: 'CommentGroup' },
  Type: { NamedType: 'text', Elem: 'Type', NonNull: 'truth' },
  CommentGroup: { List: ['Comment'] },
  Comment: { Value: 'text' },
  SchemaDocument: {
    Schema: ['SchemaDefinition'],
    SchemaExtension: ['SchemaDefinition'],
    Directives: ['DirectiveDefinition'],
    DirectiveExtensions: ['DirectiveDefinition'],
    Definitions: ['Definition'],
    Extensions: ['Definition'],
    Comment: 'CommentGroup',
  },
  SchemaDefinition: {
    Description: 'text',
    Directives: ['Directive'],
    OperationTypes: ['OperationTypeDefinition'],
    BeforeDescriptionComment: 'CommentGroup',
    AfterDescriptionComment: 'CommentGroup',
    EndOfDefinitionComment: 'CommentGroup',
  },
  OperationTypeDefinition: { Operation: 'text', Type: 'text', Comment: 'CommentGroup' },
  Definition: {
    ...definition,
    Kind: 'text',
    Interfaces: 'texts',
    Fields: ['FieldDefinition'],
    Types: 'texts',
    EnumValues: ['EnumValueDefinition'],
    BuiltIn: 'truth',
    EndOfDefinitionComment: 'CommentGroup',
  },
  FieldDefinition: { ...definition, Arguments: ['ArgumentDefinition'], DefaultValue: 'Value', Type: 'Type' },
  ArgumentDefinition: { ...definition, DefaultValue: 'Value', Type: 'Type' },
  EnumValueDefinition: definition,
  DirectiveDefinition: {
    ...definition,
    Arguments: ['ArgumentDefinition'],
    Locations: 'texts',
    IsRepeatable: 'truth',
  },
} as const satisfies Readonly<Record<string, Readonly<Record<string, unknown>>>>;

export type StructName =
  | 'QueryDocument'
  | 'OperationDefinition'
  | 'VariableDefinition'
  | 'FragmentDefinition'
  | 'Field'
  | 'FragmentSpread'
  | 'InlineFragment'
  | 'Argument'
  | 'Directive'
  | 'Value'
  | 'ChildValue'
  | 'Type'
  | 'CommentGroup'
  | 'Comment'
  | 'SchemaDocument'
  | 'SchemaDefinition'
  | 'OperationTypeDefinition'
  | 'Definition'
  | 'FieldDefinition'
  | 'ArgumentDefinition'
  | 'EnumValueDefinition'
  | 'DirectiveDefinition';

type FieldOf<K> = K extends 'text'
  ? string
  : K extends 'truth'
    ? boolean
    : K extends 'integer'
      ? number
      : K extends 'texts'
        ? string[]
        : K extends 'selections'
          ? Selection[]
          : K extends readonly [infer S extends StructName]
            ? Node<S>[]
            : K extends StructName
              ? Node<K> | undefined
              : never;

/** A struct whole: texts are empty and lists have no members where nothing was said. */
export type Node<S extends StructName> = Struct & {
  -readonly [F in keyof (typeof structs)[S]]: FieldOf<(typeof structs)[S][F]>;
} & { $: S };

export type Selection = Node<'Field'> | Node<'FragmentSpread'> | Node<'InlineFragment'>;

const fieldsOf = (name: StructName): readonly (readonly [string, FieldKind])[] =>
  Object.entries(structs[name]);

function zeroOf(kind: FieldKind): unknown {
  if (kind === 'text') return '';
  if (kind === 'truth') return false;
  if (kind === 'integer') return 0;
  return kind === 'texts' || kind === 'selections' || typeof kind !== 'string' ? [] : undefined;
}

/** A struct of which some fields are given. */
export function make<S extends StructName>(name: S, given: Partial<Omit<Node<S>, '$'>> = {}): Node<S> {
  const zeros = Object.fromEntries(fieldsOf(name).map(([field, kind]) => [field, zeroOf(kind)]));
  return { $: name, ...zeros, ...given } as Node<S>;
}

/** Fuel units of a struct that is written or read: measured, 1.5 µs. */
const unitsPerNode = 4_500;

/** As OPA answers it: what is nil or empty is left out, an empty text is not. */
export function valueOf(node: Struct, context: BuiltinContext): RegoObject {
  context.spend(unitsPerNode);
  const value = new RegoObject();
  for (const [field, kind] of fieldsOf(node.$)) {
    const inner = fieldValue((node as unknown as Record<string, unknown>)[field], kind, context);
    if (inner !== undefined) value.set(field, inner);
  }
  return value;
}

function fieldValue(field: unknown, kind: FieldKind, context: BuiltinContext): Value | undefined {
  if (field === undefined) return undefined;
  if (kind === 'text' || kind === 'truth' || kind === 'integer') return field as Value;
  if (kind === 'texts') return isFilled(field as string[]);
  if (!Array.isArray(field)) {
    const value = valueOf(field as Struct, context);
    return value.size > 0 ? value : undefined;
  }
  return isFilled(field.map((each) => valueOf(each as Struct, context)).filter(({ size }) => size > 0));
}

const isFilled = <T extends Value>(list: readonly T[]): readonly T[] | undefined =>
  list.length > 0 ? list : undefined;

/** Those that Go reads field by field, where it leaves these out. */
const unread: Readonly<Partial<Record<StructName, readonly string[]>>> = {
  OperationDefinition: ['Description', 'Comment'],
  FragmentDefinition: ['Description', 'Comment'],
  Field: ['Comment'],
  InlineFragment: ['Comment'],
};

/** What Go's JSON reads from such an answer, or from any object. @throws BuiltinError for a member of another type */
export function nodeOf<S extends StructName>(
  name: S,
  value: Value | undefined,
  context: BuiltinContext,
): Node<S> {
  context.spend(unitsPerNode);
  const node = make(name) as unknown as Record<string, unknown>;
  if (value === null) return node as unknown as Node<S>;
  if (!(value instanceof RegoObject)) throw new BuiltinError('not an object');
  for (const [field, kind] of fieldsOf(name)) {
    const inner = value.get(field);
    if (inner === undefined || inner === null || unread[name]?.includes(field)) continue;
    node[field] = readField(inner, kind, context);
  }
  return node as unknown as Node<S>;
}

function readField(value: Value, kind: FieldKind, context: BuiltinContext): unknown {
  if (kind === 'text') {
    if (typeof value !== 'string') throw new BuiltinError('not a string');
    return decodeUtf8(Buffer.from(value.toWellFormed()));
  }
  if (kind === 'truth') {
    if (typeof value !== 'boolean') throw new BuiltinError('not a boolean');
    return value;
  }
  if (kind === 'integer') {
    if (!isNumber(value) || !/^-?\d{1,15}$/.test(numberText(value))) throw new BuiltinError('not an integer');
    return Number(numberText(value));
  }
  if (typeof kind === 'string' && kind !== 'texts' && kind !== 'selections')
    return nodeOf(kind, value, context);
  if (!isArray(value)) throw new BuiltinError('not a list');
  if (kind === 'texts') return value.map((each) => readField(each, 'text', context));
  if (kind === 'selections') return value.flatMap((each) => selectionOf(each, context));
  return value.map((each) => nodeOf(kind[0], each, context));
}

/** Any object is a field, if its members allow it; what is none of the three is left out. */
function selectionOf(value: Value, context: BuiltinContext): Selection[] {
  for (const name of ['Field', 'FragmentSpread', 'InlineFragment'] as const)
    try {
      return [nodeOf(name, value, context) as Selection];
    } catch (error) {
      if (!(error instanceof BuiltinError)) throw error;
    }
  return [];
}
