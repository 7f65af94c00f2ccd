import { type BuiltinContext, BuiltinError } from '../builtin.ts';
import { make, type Node } from './nodes.ts';
import { type Described, Parser } from './parsing.ts';

/** @throws BuiltinError for what is no type system document */
export function parseSchema(source: string, context: BuiltinContext): Node<'SchemaDocument'> {
  return new SchemaParser(source, context).document();
}

const kinds: Readonly<Record<string, string>> = {
  scalar: 'SCALAR',
  type: 'OBJECT',
  interface: 'INTERFACE',
  union: 'UNION',
  enum: 'ENUM',
  input: 'INPUT_OBJECT',
};

const locations = new Set(
  (
    'QUERY MUTATION SUBSCRIPTION FIELD FRAGMENT_DEFINITION FRAGMENT_SPREAD INLINE_FRAGMENT VARIABLE_DEFINITION SCHEMA ' +
    'SCALAR OBJECT FIELD_DEFINITION ARGUMENT_DEFINITION INTERFACE UNION ENUM ENUM_VALUE INPUT_OBJECT ' +
    'INPUT_FIELD_DEFINITION DIRECTIVE_DEFINITION'
  ).split(' '),
);

type Comments = Node<'CommentGroup'> | undefined;

class SchemaParser extends Parser {
  document(): Node<'SchemaDocument'> {
    const document = make('SchemaDocument');
    while (this.peek().kind !== 'end') {
      const description = this.description();
      const { kind, value } = this.peek();
      if (kind !== 'name') throw this.unexpected();
      if (Object.hasOwn(kinds, value)) document.Definitions.push(this.#definition(description));
      else if (value === 'schema') document.Schema.push(this.#schema(description));
      else if (value === 'directive') document.Directives.push(this.#directive(description));
      else if (value === 'extend' && description.text === '') this.#extension(document);
      else throw this.unexpected();
    }
    document.Comment = this.comment;
    return document;
  }

  #schema({ comment: before, text }: Described): Node<'SchemaDefinition'> {
    const { comment } = this.expect('name', 'schema');
    return this.#schemaRest(
      make('SchemaDefinition', {
        BeforeDescriptionComment: before,
        Description: text,
        AfterDescriptionComment: comment,
      }),
    );
  }

  #schemaRest(schema: Node<'SchemaDefinition'>): Node<'SchemaDefinition'> {
    schema.Directives = this.directives(true);
    schema.EndOfDefinitionComment = this.some('{', '}', () => {
      this.peek();
      const { comment } = this;
      const operation = this.operationType();
      this.expect(':');
      schema.OperationTypes.push(
        make('OperationTypeDefinition', { Comment: comment, Operation: operation, Type: this.name() }),
      );
    });
    return schema;
  }

  #definition({ comment: before, text }: Described): Node<'Definition'> {
    const { token, comment } = this.expect('name');
    return this.#definitionRest(
      make('Definition', {
        Kind: kinds[token.value] ?? '',
        BeforeDescriptionComment: before,
        Description: text,
        AfterDescriptionComment: comment,
      }),
    );
  }

  #definitionRest(definition: Node<'Definition'>): Node<'Definition'> {
    definition.Name = this.name();
    const { Kind: kind } = definition;
    if (kind === 'OBJECT' || kind === 'INTERFACE') definition.Interfaces = this.#interfaces();
    definition.Directives = this.directives(true);
    if (kind === 'OBJECT' || kind === 'INTERFACE')
      definition.EndOfDefinitionComment = this.some('{', '}', () =>
        definition.Fields.push(this.#field(false)),
      );
    if (kind === 'INPUT_OBJECT')
      definition.EndOfDefinitionComment = this.some('{', '}', () =>
        definition.Fields.push(this.#field(true)),
      );
    if (kind === 'ENUM')
      definition.EndOfDefinitionComment = this.some('{', '}', () =>
        definition.EnumValues.push(this.#enumValue()),
      );
    if (kind === 'UNION') this.#members(definition);
    return definition;
  }

  #interfaces(): string[] {
    if (!this.says('implements')) return [];
    this.next();
    this.skip('&');
    const names = [this.name()];
    while (this.skip('&')) names.push(this.name());
    return names;
  }

  #members(definition: Node<'Definition'>): void {
    if (!this.skip('=')) return;
    this.skip('|');
    do {
      definition.Types.push(this.name());
    } while (this.skip('|'));
  }

  /** What an empty description is before does not count. */
  #described(): {
    Description: string;
    BeforeDescriptionComment: Comments;
    AfterDescriptionComment: Comments;
  } {
    const { text, comment } = this.description();
    this.peek();
    return {
      Description: text,
      BeforeDescriptionComment: text === '' ? undefined : comment,
      AfterDescriptionComment: this.comment,
    };
  }

  #field(isInput: boolean): Node<'FieldDefinition'> {
    const described = this.#described();
    const name = this.name();
    const args = isInput ? [] : this.#arguments();
    this.expect(':');
    return make('FieldDefinition', {
      ...described,
      Name: name,
      Arguments: args,
      Type: this.type(),
      DefaultValue: isInput && this.skip('=') ? this.value(true) : undefined,
      Directives: this.directives(true),
    });
  }

  #arguments(): Node<'ArgumentDefinition'>[] {
    const args: Node<'ArgumentDefinition'>[] = [];
    this.some('(', ')', () => {
      const described = this.#described();
      const name = this.name();
      this.expect(':');
      args.push(
        make('ArgumentDefinition', {
          ...described,
          Name: name,
          Type: this.type(),
          DefaultValue: this.skip('=') ? this.value(true) : undefined,
          Directives: this.directives(true),
        }),
      );
    });
    return args;
  }

  #enumValue(): Node<'EnumValueDefinition'> {
    const described = this.#described();
    return make('EnumValueDefinition', {
      ...described,
      Name: this.name(),
      Directives: this.directives(true),
    });
  }

  #directive({ comment: before, text }: Described): Node<'DirectiveDefinition'> {
    const { comment } = this.expect('name', 'directive');
    this.expect('@');
    const definition = make('DirectiveDefinition', {
      BeforeDescriptionComment: before,
      Description: text,
      AfterDescriptionComment: comment,
      Name: this.name(),
      Arguments: this.#arguments(),
      Directives: this.directives(true),
    });
    if (this.peek().kind === 'name' && this.says('repeatable')) {
      definition.IsRepeatable = true;
      this.next();
    }
    this.expect('name', 'on');
    this.skip('|');
    do definition.Locations.push(this.#location());
    while (this.skip('|'));
    return definition;
  }

  #location(): string {
    const name = this.name();
    if (!locations.has(name)) throw new BuiltinError('no location');
    return name;
  }

  /** Each must say something. */
  #extension(document: Node<'SchemaDocument'>): void {
    const { comment } = this.expect('name', 'extend');
    const { value } = this.peek();
    if (value === 'schema') {
      this.expect('name', 'schema');
      const schema = this.#schemaRest(make('SchemaDefinition', { AfterDescriptionComment: comment }));
      if (schema.Directives.length + schema.OperationTypes.length === 0) throw this.unexpected();
      document.SchemaExtension.push(schema);
    } else if (value === 'directive') {
      this.expect('name', 'directive');
      this.expect('@');
      const name = this.name();
      const directives = this.directives(true);
      if (directives.length === 0) throw this.unexpected();
      document.DirectiveExtensions.push(
        make('DirectiveDefinition', { AfterDescriptionComment: comment, Name: name, Directives: directives }),
      );
    } else {
      const kind = Object.hasOwn(kinds, value) ? kinds[value] : undefined;
      if (kind === undefined) throw this.unexpected();
      this.expect('name');
      const definition = this.#definitionRest(
        make('Definition', { AfterDescriptionComment: comment, Kind: kind }),
      );
      const { Interfaces, Directives, Fields, Types, EnumValues } = definition;
      if ([Interfaces, Directives, Fields, Types, EnumValues].every((list) => list.length === 0))
        throw this.unexpected();
      document.Extensions.push(definition);
    }
  }
}
