import { type BuiltinContext, BuiltinError } from '../builtin.ts';
import { make, type Node } from './nodes.ts';
import { prelude } from './prelude.ts';
import { checkTypes } from './schemachecks.ts';
import { parseSchema } from './schemas.ts';
import type { DirectiveInfo, Schema, TypeInfo } from './types.ts';

/** Fuel units of a definition that is looked at. */
const unitsPerDefinition = 3_000;

let parsedPrelude: Node<'SchemaDocument'> | undefined;

/** It is read once, and never changed. */
function preludeDocument(): Node<'SchemaDocument'> {
  parsedPrelude ??= parseSchema(prelude, { nowMs: 0, seed: '', spend: () => {} });
  return parsedPrelude;
}

/** @throws BuiltinError for what gqlparser takes for no sound schema */
export function schemaOf(document: Node<'SchemaDocument'>, context: BuiltinContext): Schema {
  const known = preludeDocument();
  const types = typesOf(known, document, context);
  const directives = directivesOf(known, document, context);
  const roots = rootsOf(document, types);
  const schema = { types, directives, roots, possible: possibleTypes(types, context) };
  checkTypes(schema, document, context);
  for (const root of roots.values())
    if (root.kind !== 'OBJECT') throw new BuiltinError('a root type is no object');
  addIntrospection(roots.get('query'));
  return schema;
}

function typesOf(
  known: Node<'SchemaDocument'>,
  document: Node<'SchemaDocument'>,
  context: BuiltinContext,
): Map<string, TypeInfo> {
  const types = new Map<string, TypeInfo>();
  for (const definition of [...known.Definitions, ...document.Definitions]) {
    context.spend(unitsPerDefinition);
    if (types.has(definition.Name)) throw new BuiltinError('cannot redeclare a type');
    types.set(
      definition.Name,
      infoOf(definition, known.Definitions.includes(definition) || definition.BuiltIn),
    );
  }
  for (const extension of document.Extensions) {
    context.spend(unitsPerDefinition);
    const type =
      types.get(extension.Name) ??
      infoOf(make('Definition', { Kind: extension.Kind, Name: extension.Name }), false);
    types.set(extension.Name, type);
    if (type.kind !== extension.Kind) throw new BuiltinError('cannot extend a type of another kind');
    type.directives.push(...extension.Directives);
    type.interfaces.push(...extension.Interfaces);
    type.fieldList.push(...extension.Fields);
    type.types.push(...extension.Types);
    type.enumValues.push(...extension.EnumValues);
  }
  for (const type of types.values())
    for (const field of type.fieldList) if (!type.fields.has(field.Name)) type.fields.set(field.Name, field);
  return types;
}

function infoOf(definition: Node<'Definition'>, isBuiltIn: boolean): TypeInfo {
  return {
    name: definition.Name,
    kind: definition.Kind,
    isBuiltIn,
    directives: [...definition.Directives],
    interfaces: [...definition.Interfaces],
    fieldList: [...definition.Fields],
    fields: new Map(),
    types: [...definition.Types],
    enumValues: [...definition.EnumValues],
  };
}

/** Those of the prelude may be declared again, and the last one counts. */
function directivesOf(
  known: Node<'SchemaDocument'>,
  document: Node<'SchemaDocument'>,
  context: BuiltinContext,
): Map<string, DirectiveInfo> {
  const builtIn = new Set(known.Directives.map(({ Name: name }) => name));
  const directives = new Map<string, DirectiveInfo>();
  for (const definition of [...known.Directives, ...document.Directives]) {
    context.spend(unitsPerDefinition);
    if (directives.has(definition.Name) && !builtIn.has(definition.Name))
      throw new BuiltinError('cannot redeclare a directive');
    directives.set(definition.Name, {
      name: definition.Name,
      args: definition.Arguments,
      directives: [...definition.Directives],
      locations: definition.Locations,
      isRepeatable: definition.IsRepeatable,
    });
  }
  for (const extension of document.DirectiveExtensions) {
    const directive = directives.get(extension.Name);
    if (!directive) throw new BuiltinError('cannot extend a directive that is not defined');
    directive.directives.push(...extension.Directives);
  }
  return directives;
}

function possibleTypes(types: ReadonlyMap<string, TypeInfo>, context: BuiltinContext): Map<string, string[]> {
  const possible = new Map<string, string[]>();
  const add = (name: string, type: string): void => {
    const known = possible.get(name) ?? [];
    known.push(type);
    possible.set(name, known);
  };
  for (const { name, kind, types: members, interfaces } of types.values()) {
    context.spend(unitsPerDefinition + (members.length + interfaces.length) * 200);
    if (kind === 'UNION') for (const member of members) add(name, member);
    if (kind === 'OBJECT' || kind === 'INPUT_OBJECT' || kind === 'INTERFACE')
      for (const each of interfaces) add(each, name);
    if (kind === 'OBJECT' || kind === 'INPUT_OBJECT') add(name, name);
  }
  return possible;
}

const operations = { query: 'Query', mutation: 'Mutation', subscription: 'Subscription' } as const;

/** What the schema says; by their names where it says nothing. */
function rootsOf(
  document: Node<'SchemaDocument'>,
  types: ReadonlyMap<string, TypeInfo>,
): Map<string, TypeInfo> {
  if (document.Schema.length > 1) throw new BuiltinError('multiple schema entry points');
  const roots = new Map<string, TypeInfo>();
  for (const { OperationTypes: entries } of [...document.Schema, ...document.SchemaExtension])
    for (const { Operation: operation, Type: name } of entries) {
      const type = types.get(name);
      if (!type || roots.has(operation)) throw new BuiltinError('a root type is not there, or there twice');
      roots.set(operation, type);
    }
  if (document.Schema.length > 0) return roots;
  for (const [operation, name] of Object.entries(operations)) {
    const type = types.get(name);
    if (type && !roots.has(operation)) roots.set(operation, type);
  }
  return roots;
}

/** `__schema` and `__type`, which every query may ask for. */
function addIntrospection(query: TypeInfo | undefined): void {
  const text = make('Type', { NamedType: 'String', NonNull: true });
  const fields = [
    make('FieldDefinition', {
      Name: '__schema',
      Type: make('Type', { NamedType: '__Schema', NonNull: true }),
    }),
    make('FieldDefinition', {
      Name: '__type',
      Type: make('Type', { NamedType: '__Type' }),
      Arguments: [make('ArgumentDefinition', { Name: 'name', Type: text })],
    }),
  ];
  for (const field of fields) if (query && !query.fields.has(field.Name)) query.fields.set(field.Name, field);
}
