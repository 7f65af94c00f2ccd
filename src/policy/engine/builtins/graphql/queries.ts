import type { BuiltinContext } from '../builtin.ts';
import { make, type Node, type Selection } from './nodes.ts';
import { type Described, joinComments, Parser } from './parsing.ts';

/** @throws BuiltinError for what is no executable document */
export function parseQuery(source: string, context: BuiltinContext): Node<'QueryDocument'> {
  return new QueryParser(source, context).document();
}

class QueryParser extends Parser {
  document(): Node<'QueryDocument'> {
    const document = make('QueryDocument');
    while (this.peek().kind !== 'end') {
      const description = this.description();
      const { kind, value } = this.peek();
      if (kind === '{' && !description.isPresent) document.Operations.push(this.#shorthand());
      else if (kind === 'name' && value === 'fragment') document.Fragments.push(this.#fragment(description));
      else if (kind === 'name' && /^(?:query|mutation|subscription)$/.test(value))
        document.Operations.push(this.#operation(description));
      else throw this.unexpected();
    }
    return document;
  }

  #shorthand(): Node<'OperationDefinition'> {
    // What is said before it is lost, as in gqlparser.
    return make('OperationDefinition', { Operation: 'query', SelectionSet: this.#required() });
  }

  #operation(description: Described): Node<'OperationDefinition'> {
    this.peek();
    const comment = joinComments(description.comment, this.comment);
    const operation = this.operationType();
    const name = this.peek().kind === 'name' ? this.next().value : '';
    return make('OperationDefinition', {
      Description: description.text,
      Comment: comment,
      Operation: operation,
      Name: name,
      VariableDefinitions: this.#variables(),
      Directives: this.directives(false),
      SelectionSet: this.#required(),
    });
  }

  #fragment(description: Described): Node<'FragmentDefinition'> {
    this.peek();
    const comment = joinComments(description.comment, this.comment);
    this.expect('name', 'fragment');
    const name = this.#fragmentName();
    const variables = this.#variables();
    this.expect('name', 'on');
    return make('FragmentDefinition', {
      Description: description.text,
      Comment: comment,
      Name: name,
      VariableDefinition: variables,
      TypeCondition: this.name(),
      Directives: this.directives(false),
      SelectionSet: this.#required(),
    });
  }

  #fragmentName(): string {
    if (this.says('on')) throw this.unexpected();
    return this.name();
  }

  #variables(): Node<'VariableDefinition'>[] {
    const variables: Node<'VariableDefinition'>[] = [];
    this.some('(', ')', () => {
      const description = this.description();
      this.peek();
      const comment = joinComments(description.comment, this.comment);
      this.expect('$');
      const name = this.name();
      this.expect(':');
      variables.push(
        make('VariableDefinition', {
          Description: description.text,
          Comment: comment,
          Variable: name,
          Type: this.type(),
          DefaultValue: this.skip('=') ? this.value(true) : undefined,
          Directives: this.directives(false),
        }),
      );
    });
    return variables;
  }

  #required(): Selection[] {
    if (this.peek().kind !== '{') throw this.unexpected();
    return this.#selections();
  }

  #selections(): Selection[] {
    return this.nested(() => {
      const selections: Selection[] = [];
      this.some('{', '}', () => selections.push(this.peek().kind === '...' ? this.#spread() : this.#field()));
      return selections;
    });
  }

  #field(): Node<'Field'> {
    this.peek();
    const { comment } = this;
    const alias = this.name();
    const name = this.skip(':') ? this.name() : alias;
    return make('Field', {
      Comment: comment,
      Alias: alias,
      Name: name,
      Arguments: this.arguments(false),
      Directives: this.directives(false),
      SelectionSet: this.peek().kind === '{' ? this.#selections() : [],
    });
  }

  #spread(): Selection {
    const { comment } = this.expect('...');
    if (this.peek().kind === 'name' && !this.says('on'))
      return make('FragmentSpread', {
        Comment: comment,
        Name: this.#fragmentName(),
        Directives: this.directives(false),
      });
    let condition = '';
    if (this.says('on')) {
      this.next();
      condition = this.name();
    }
    return make('InlineFragment', {
      Comment: comment,
      TypeCondition: condition,
      Directives: this.directives(false),
      SelectionSet: this.#required(),
    });
  }
}
