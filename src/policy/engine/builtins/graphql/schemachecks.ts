import { type BuiltinContext, BuiltinError } from '../builtin.ts';
import { checkImplements, checkNoCircles } from './inheritance.ts';
import type { Node } from './nodes.ts';
import { type DirectiveInfo, isGiven, isInput, nameOf, type Schema, type TypeInfo } from './types.ts';

const unitsPerCheck = 1_500;

/** What a schema has to be (October 2021 section 3), as far as gqlparser looks. @throws BuiltinError for what it is not */
export function checkTypes(schema: Schema, document: Node<'SchemaDocument'>, context: BuiltinContext): void {
  const checks = new SchemaChecks(schema, context);
  for (const { Directives: directives } of [...document.Schema, ...document.SchemaExtension])
    checks.directives(directives, 'SCHEMA');
  for (const type of schema.types.values()) checks.type(type);
  checkNoCircles(schema, context);
  for (const directive of schema.directives.values()) checks.directive(directive);
}

const outputs = new Set(['SCALAR', 'OBJECT', 'INTERFACE', 'UNION', 'ENUM']);

class SchemaChecks {
  readonly #schema: Schema;
  readonly #context: BuiltinContext;

  constructor(schema: Schema, context: BuiltinContext) {
    this.#schema = schema;
    this.#context = context;
  }

  #demand(condition: boolean, otherwise: string): void {
    this.#context.spend(unitsPerCheck);
    if (!condition) throw new BuiltinError(otherwise);
  }

  #name(name: string): void {
    this.#demand(!name.startsWith('__'), 'a name is reserved');
  }

  #unique(names: readonly string[]): void {
    this.#context.spend(names.length * 200);
    this.#demand(new Set(names).size === names.length, 'a name is there twice');
  }

  directive(directive: DirectiveInfo): void {
    this.#name(directive.name);
    this.#unique(directive.args.map(({ Name: name }) => name));
    this.directives(directive.directives, 'DIRECTIVE_DEFINITION', directive.name);
    this.#arguments(directive.args, directive.name);
  }

  type(type: TypeInfo): void {
    for (const field of type.fieldList) this.#field(type, field);
    for (const name of type.types)
      this.#demand(this.#schema.types.get(name)?.kind === 'OBJECT', 'a member of a union is no object');
    this.#unique(type.interfaces);
    for (const name of type.interfaces) checkImplements(this.#schema, type, name, this.#context);
    this.#content(type);
    this.#unique(type.fieldList.map(({ Name: name }) => name));
    this.#unique(type.enumValues.map(({ Name: name }) => name));
    this.#unique(type.types);
    if (!type.isBuiltIn) this.#name(type.name);
    // Those of a type and of its extensions are at different locations.
    this.directives(type.directives, type.kind, undefined, false);
  }

  #field(type: TypeInfo, field: Node<'FieldDefinition'>): void {
    this.#name(field.Name);
    const inner = this.#schema.types.get(nameOf(field.Type));
    this.#demand(inner !== undefined, 'an undefined type');
    this.#uniqueFields(field.DefaultValue);
    this.#unique(field.Arguments.map(({ Name: name }) => name));
    this.#arguments(field.Arguments);
    this.directives(
      field.Directives,
      type.kind === 'INPUT_OBJECT' ? 'INPUT_FIELD_DEFINITION' : 'FIELD_DEFINITION',
    );
    if (type.kind === 'OBJECT' || type.kind === 'INTERFACE')
      this.#demand(inner !== undefined && outputs.has(inner.kind), 'a field is of an input type');
    if (type.kind === 'INPUT_OBJECT')
      this.#demand(inner !== undefined && isInput(inner), 'a field is of an output type');
  }

  #content({ kind, fieldList, enumValues, types }: TypeInfo): void {
    if (kind === 'OBJECT' || kind === 'INTERFACE' || kind === 'INPUT_OBJECT')
      this.#demand(fieldList.length > 0, 'no fields');
    if (kind === 'UNION') this.#demand(types.length > 0, 'no members');
    if (kind !== 'ENUM') return;
    this.#demand(enumValues.length > 0, 'no values');
    for (const { Name: name, Directives: directives } of enumValues) {
      this.#name(name);
      this.#demand(!/^(?:true|false|null)$/.test(name), 'a value of an enum is none');
      this.directives(directives, 'ENUM_VALUE');
    }
  }

  #arguments(args: readonly Node<'ArgumentDefinition'>[], current?: string): void {
    for (const arg of args) {
      this.#name(arg.Name);
      const type = this.#schema.types.get(nameOf(arg.Type));
      this.#uniqueFields(arg.DefaultValue);
      this.#demand(type !== undefined && isInput(type), 'an argument is of no input type');
      this.directives(arg.Directives, 'ARGUMENT_DEFINITION', current);
    }
  }

  directives(
    directives: readonly Node<'Directive'>[],
    location: string,
    current?: string,
    isSingle = true,
  ): void {
    const seen = new Set<string>();
    for (const directive of directives) {
      this.#name(directive.Name);
      const info = this.#schema.directives.get(directive.Name);
      this.#demand(
        directive.Name !== current && info !== undefined,
        'a directive is not defined, or by itself',
      );
      if (!info) return;
      this.#demand(!isSingle || info.isRepeatable || !seen.has(info.name), 'a directive is there twice');
      seen.add(info.name);
      this.#demand(info.locations.includes(location), 'a directive is not applicable');
      this.#directiveArguments(directive, info);
    }
  }

  #directiveArguments({ Arguments: args }: Node<'Directive'>, info: DirectiveInfo): void {
    this.#context.spend((args.length + info.args.length) * unitsPerCheck);
    const given = new Map(args.map((arg) => [arg.Name, arg.Value]));
    this.#unique(args.map(({ Name: name }) => name));
    const known = new Set(info.args.map(({ Name: name }) => name));
    this.#demand(
      [...given.keys()].every((name) => known.has(name)),
      'an undefined argument',
    );
    for (const { Name: name, Type: type, DefaultValue: value } of info.args)
      if (type?.NonNull && !value) this.#demand(isGiven(given.get(name)), 'an argument cannot be null');
    for (const value of given.values()) this.#uniqueFields(value);
  }

  /** Within each object of a value. */
  #uniqueFields(value: Node<'Value'> | undefined): void {
    if (!value) return;
    if (value.Kind === 9) this.#unique(value.Children.map(({ Name: name }) => name));
    for (const { Value: inner } of value.Children) this.#uniqueFields(inner);
  }
}
