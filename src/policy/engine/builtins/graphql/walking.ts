import { type BuiltinContext, BuiltinError } from '../builtin.ts';
import type { Node, Selection } from './nodes.ts';
import { valueKind } from './parsing.ts';
import { isGiven, nameOf, type Schema, type TypeInfo } from './types.ts';

const unitsPerVisit = 3_000;
/** Fragments that spread fragments. */
const deepest = 700;

export interface Expected {
  readonly type: Node<'Type'>;
  readonly info: TypeInfo | undefined;
  readonly hasDefault: boolean;
}

/** What a visitor is told, of what the schema says. Undefined where it says nothing. */
export interface Visitor {
  variable(definition: Node<'VariableDefinition'>): void;
  operation(operation: Node<'OperationDefinition'>, root: TypeInfo | undefined): void;
  field(
    field: Node<'Field'>,
    definition: Node<'FieldDefinition'> | undefined,
    parent: TypeInfo | undefined,
  ): void;
  fragment(fragment: Node<'FragmentDefinition'>, type: TypeInfo | undefined): void;
  inlineFragment(fragment: Node<'InlineFragment'>, parent: TypeInfo | undefined): void;
  spread(
    spread: Node<'FragmentSpread'>,
    fragment: Node<'FragmentDefinition'> | undefined,
    parent: TypeInfo | undefined,
  ): void;
  directives(directives: readonly Node<'Directive'>[], location: string): void;
  value(value: Node<'Value'>, expected: Expected | undefined): void;
}

/** Walks a document as gqlparser does: fragments again where they are spread, but once an operation. */
export class Walker {
  readonly schema: Schema;
  readonly document: Node<'QueryDocument'>;
  readonly context: BuiltinContext;
  readonly fragments = new Map<string, Node<'FragmentDefinition'>>();
  /** Undefined within fragments on their own. */
  operation: Node<'OperationDefinition'> | undefined;
  readonly variables = new Map<string, Node<'VariableDefinition'>>();
  readonly used = new Set<Node<'VariableDefinition'>>();
  #spread = new Set<string>();
  #depth = 0;
  #visitor: Visitor;

  constructor(
    schema: Schema,
    document: Node<'QueryDocument'>,
    context: BuiltinContext,
    visitor: (walker: Walker) => Visitor,
  ) {
    this.schema = schema;
    this.document = document;
    this.context = context;
    for (const fragment of document.Fragments)
      if (!this.fragments.has(fragment.Name)) this.fragments.set(fragment.Name, fragment);
    this.#visitor = visitor(this);
  }

  walk(): void {
    for (const operation of this.document.Operations) this.#operation(operation);
    for (const fragment of this.document.Fragments) {
      this.#spread = new Set();
      const type = this.schema.types.get(fragment.TypeCondition);
      this.#directives(fragment.Directives, 'FRAGMENT_DEFINITION');
      this.#selections(fragment.SelectionSet, type);
      this.#visitor.fragment(fragment, type);
    }
  }

  #operation(operation: Node<'OperationDefinition'>): void {
    this.#spread = new Set();
    this.operation = operation;
    this.variables.clear();
    const kind = operation.Operation || 'query';
    if (!/^(?:query|mutation|subscription)$/.test(kind)) throw new BuiltinError('unknown operation type');
    for (const variable of operation.VariableDefinitions) {
      this.context.spend(unitsPerVisit);
      if (!this.variables.has(variable.Variable)) this.variables.set(variable.Variable, variable);
      this.#visitor.variable(variable);
    }
    for (const { Type: type, DefaultValue: value, Directives: directives } of operation.VariableDefinitions) {
      if (value) this.#value(value, this.#expected(type, false));
      this.#directives(directives, 'VARIABLE_DEFINITION');
    }
    const root = this.schema.roots.get(kind);
    this.#directives(operation.Directives, kind.toUpperCase());
    this.#selections(operation.SelectionSet, root);
    this.#visitor.operation(operation, root);
    this.operation = undefined;
  }

  #expected(type: Node<'Type'> | undefined, hasDefault: boolean): Expected | undefined {
    return type && { type, info: this.schema.types.get(nameOf(type)), hasDefault };
  }

  #directives(directives: readonly Node<'Directive'>[], location: string): void {
    for (const directive of directives)
      this.#arguments(directive.Arguments, this.schema.directives.get(directive.Name)?.args);
    this.#visitor.directives(directives, location);
  }

  #arguments(
    args: readonly Node<'Argument'>[],
    definitions: readonly Node<'ArgumentDefinition'>[] | undefined,
  ): void {
    this.context.spend(args.length * (definitions?.length ?? 0) * 20);
    for (const { Name: name, Value: value } of args) {
      const definition = definitions?.find((each) => each.Name === name);
      if (!value) throw new BuiltinError('an argument has no value');
      this.#value(value, definition && this.#expected(definition.Type, isGiven(definition.DefaultValue)));
    }
  }

  #value(value: Node<'Value'>, expected: Expected | undefined): void {
    this.context.spend(unitsPerVisit);
    if (value.Kind === valueKind.variable) {
      const variable = this.operation && this.variables.get(value.Raw);
      if (variable) this.used.add(variable);
    }
    for (const { Name: name, Value: inner } of this.#children(value)) {
      if (!inner) throw new BuiltinError('a value is missing');
      if (value.Kind === valueKind.object) {
        const field = expected?.info?.fields.get(name);
        this.#value(inner, field && this.#expected(field.Type, isGiven(field.DefaultValue)));
      } else {
        const element = expected?.type.Elem;
        this.#value(inner, element && { type: element, info: expected?.info, hasDefault: false });
      }
    }
    this.#visitor.value(value, expected);
  }

  #children({ Kind: kind, Children: children }: Node<'Value'>): readonly Node<'ChildValue'>[] {
    return kind === valueKind.object || kind === valueKind.list ? children : [];
  }

  #selections(selections: readonly Selection[], parent: TypeInfo | undefined): void {
    this.#depth += 1;
    if (this.#depth > deepest) throw new BuiltinError('nested too deeply');
    for (const selection of selections) {
      this.context.spend(unitsPerVisit);
      if (selection.$ === 'Field') this.#field(selection, parent);
      else if (selection.$ === 'InlineFragment') this.#inlineFragment(selection, parent);
      else this.#fragmentSpread(selection, parent);
    }
    this.#depth -= 1;
  }

  #field(field: Node<'Field'>, parent: TypeInfo | undefined): void {
    const definition = field.Name === '__typename' ? typeName : parent?.fields.get(field.Name);
    const type = definition && this.schema.types.get(nameOf(definition.Type));
    this.#arguments(field.Arguments, definition?.Arguments);
    this.#directives(field.Directives, 'FIELD');
    this.#selections(field.SelectionSet, type);
    this.#visitor.field(field, definition, parent);
  }

  #inlineFragment(fragment: Node<'InlineFragment'>, parent: TypeInfo | undefined): void {
    const type = fragment.TypeCondition === '' ? parent : this.schema.types.get(fragment.TypeCondition);
    this.#directives(fragment.Directives, 'INLINE_FRAGMENT');
    this.#selections(fragment.SelectionSet, type);
    this.#visitor.inlineFragment(fragment, parent);
  }

  #fragmentSpread(spread: Node<'FragmentSpread'>, parent: TypeInfo | undefined): void {
    const fragment = this.fragments.get(spread.Name);
    this.#directives(spread.Directives, 'FRAGMENT_SPREAD');
    if (fragment && !this.#spread.has(fragment.Name)) {
      this.#spread.add(fragment.Name);
      this.#directives(fragment.Directives, 'FRAGMENT_DEFINITION');
      this.#selections(fragment.SelectionSet, this.schema.types.get(fragment.TypeCondition));
    }
    this.#visitor.spread(spread, fragment, parent);
  }
}

const typeName = {
  $: 'FieldDefinition',
  Name: '__typename',
  Arguments: [],
  Type: { $: 'Type', NamedType: 'String', NonNull: false, Elem: undefined },
} as unknown as Node<'FieldDefinition'>;
