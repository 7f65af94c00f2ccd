import type { BuiltinContext } from '../builtin.ts';
import { BuiltinError } from '../builtin.ts';
import { checkCycles, checkIntrospection, checkSubscription } from './depths.ts';
import { isCompatible } from './inheritance.ts';
import type { Node } from './nodes.ts';
import { OverlappingFields } from './overlapping.ts';
import { valueKind } from './parsing.ts';
import { isComposite, isGiven, isInput, isLeaf, nameOf, type Schema, type TypeInfo } from './types.ts';
import { checkValue } from './values.ts';
import { type Expected, type Visitor, Walker } from './walking.ts';

const unitsPerRule = 2_000;

/** The validation of gqlparser's default rules (October 2021 section 5). @throws BuiltinError at the first mistake */
export function checkQuery(schema: Schema, document: Node<'QueryDocument'>, context: BuiltinContext): void {
  new Walker(schema, document, context, (walker) => new Rules(walker)).walk();
}

class Rules implements Visitor {
  readonly #walker: Walker;
  readonly #overlapping: OverlappingFields;
  readonly #operationNames = new Set<string>();
  readonly #fragmentNames = new Set<string>();
  readonly #visitedFragments = new Set<string>();
  readonly #usedFragments = new Set<string>();
  #isInFragments = false;

  constructor(walker: Walker) {
    this.#walker = walker;
    this.#overlapping = new OverlappingFields(walker);
  }

  #demand(condition: boolean, otherwise: string): void {
    this.#walker.context.spend(unitsPerRule);
    if (!condition) throw new BuiltinError(otherwise);
  }

  #unique(names: readonly string[]): void {
    this.#walker.context.spend(names.length * 200);
    this.#demand(new Set(names).size === names.length, 'a name is there twice');
  }

  variable({ Type: type }: Node<'VariableDefinition'>): void {
    this.#demand(this.#walker.schema.types.has(nameOf(type)), 'unknown type');
  }

  operation(operation: Node<'OperationDefinition'>, root: TypeInfo | undefined): void {
    const { schema, document, used, context } = this.#walker;
    const { Name: name, VariableDefinitions: variables } = operation;
    this.#demand(root !== undefined, 'the schema does not support the operation');
    this.#demand(
      name !== '' || document.Operations.length === 1,
      'an anonymous operation must be the only one',
    );
    this.#demand(!this.#operationNames.has(name), 'an operation is there twice');
    this.#operationNames.add(name);
    this.#unique(variables.map(({ Variable: variable }) => variable));
    for (const variable of variables) {
      this.#demand(used.has(variable), 'a variable is never used');
      const type = schema.types.get(nameOf(variable.Type));
      this.#demand(type === undefined || isInput(type), 'a variable is of no input type');
    }
    this.#overlapping.check(operation.SelectionSet);
    if (operation.Operation === 'subscription') checkSubscription(this.#walker, operation, context);
  }

  field(
    field: Node<'Field'>,
    definition: Node<'FieldDefinition'> | undefined,
    parent: TypeInfo | undefined,
  ): void {
    const { schema, operation, context } = this.#walker;
    this.#demand(parent === undefined || definition !== undefined, 'a field is not there');
    this.#unique(field.Arguments.map(({ Name: name }) => name));
    if (definition) {
      this.#arguments(field.Arguments, definition.Arguments, parent !== undefined);
      const type = schema.types.get(nameOf(definition.Type));
      if (type)
        this.#demand(
          isLeaf(type) === (field.SelectionSet.length === 0),
          'a selection is missing, or there is one',
        );
    }
    if (field.Name === '__schema' || field.Name === '__type')
      checkIntrospection(this.#walker, field, context);
    if (operation) this.#overlapping.check(field.SelectionSet);
  }

  /** Those that are known, and all that are required. */
  #arguments(
    args: readonly Node<'Argument'>[],
    definitions: readonly Node<'ArgumentDefinition'>[],
    mustBeKnown: boolean,
  ): void {
    this.#walker.context.spend((args.length + definitions.length) * 200);
    const known = new Set(definitions.map(({ Name: name }) => name));
    const given = new Set(args.map(({ Name: name }) => name));
    this.#demand(!mustBeKnown || [...given].every((name) => known.has(name)), 'unknown argument');
    const isMissing = ({
      Name: name,
      Type: type,
      DefaultValue: value,
    }: Node<'ArgumentDefinition'>): boolean => type?.NonNull === true && !value && !given.has(name);
    this.#demand(!definitions.some(isMissing), 'an argument is required');
  }

  fragment(fragment: Node<'FragmentDefinition'>, type: TypeInfo | undefined): void {
    this.#isInFragments = true;
    this.#demand(this.#usedFragments.has(fragment.Name), 'a fragment is never used');
    this.#demand(type !== undefined && isComposite(type), 'a fragment is on no composite type');
    this.#demand(!this.#fragmentNames.has(fragment.Name), 'a fragment is there twice');
    this.#fragmentNames.add(fragment.Name);
    checkCycles(this.#walker, fragment, this.#visitedFragments);
    this.#overlapping.check(fragment.SelectionSet);
  }

  inlineFragment(fragment: Node<'InlineFragment'>, parent: TypeInfo | undefined): void {
    const { TypeCondition: condition } = fragment;
    const type = this.#walker.schema.types.get(condition);
    if (condition !== '')
      this.#demand(type !== undefined && isComposite(type), 'a fragment is on no composite type');
    this.#possible(parent, condition);
    this.#overlapping.check(fragment.SelectionSet);
  }

  spread(
    spread: Node<'FragmentSpread'>,
    fragment: Node<'FragmentDefinition'> | undefined,
    parent: TypeInfo | undefined,
  ): void {
    this.#demand(fragment !== undefined, 'unknown fragment');
    if (!this.#isInFragments) this.#usedFragments.add(spread.Name);
    if (fragment) this.#possible(parent, fragment.TypeCondition);
  }

  /** Some object is of both types. */
  #possible(parent: TypeInfo | undefined, condition: string): void {
    const { schema, context } = this.#walker;
    const type = schema.types.get(condition);
    if (!parent || !isComposite(parent) || !type || !isComposite(type)) return;
    const parents = parent.kind === 'OBJECT' ? [parent.name] : (schema.possible.get(parent.name) ?? []);
    const possible = new Set(schema.possible.get(condition) ?? []);
    context.spend((parents.length + possible.size) * 200);
    this.#demand(
      parents.some((name) => possible.has(name)),
      'a fragment can never be spread here',
    );
  }

  directives(directives: readonly Node<'Directive'>[], location: string): void {
    const seen = new Set<string>();
    for (const { Name: name, Arguments: args } of directives) {
      const info = this.#walker.schema.directives.get(name);
      this.#demand(
        info?.locations.includes(location) === true,
        'a directive is unknown, or may not be there',
      );
      if (!info) return;
      this.#demand(info.isRepeatable || !seen.has(name), 'a directive is there twice');
      seen.add(name);
      this.#unique(args.map((arg) => arg.Name));
      this.#arguments(args, info.args, true);
    }
  }

  value(value: Node<'Value'>, expected: Expected | undefined): void {
    const { operation, variables, context } = this.#walker;
    const variable = operation && value.Kind === valueKind.variable ? variables.get(value.Raw) : undefined;
    if (operation && value.Kind === valueKind.variable)
      this.#demand(variable !== undefined, 'a variable is not defined');
    if (value.Kind === valueKind.object) this.#unique(value.Children.map(({ Name: name }) => name));
    if (variable && expected) this.#position(variable, expected);
    if (value.Kind === valueKind.object && expected?.info) this.#oneOf(value, expected.info);
    if (expected) checkValue(value, expected, context);
  }

  #position({ Type: type, DefaultValue: value }: Node<'VariableDefinition'>, expected: Expected): void {
    const isOptional = isGiven(value) || expected.hasDefault;
    const wanted = isOptional ? { ...expected.type, NonNull: false } : expected.type;
    this.#demand(isCompatible(type, wanted), 'a variable is of another type than its place');
  }

  /** A variable for a field of which one must be given must itself be given. */
  #oneOf(value: Node<'Value'>, info: TypeInfo): void {
    if (!info.directives.some(({ Name: name }) => name === 'oneOf')) return;
    const { operation, variables } = this.#walker;
    for (const { Value: inner } of value.Children) {
      const variable = operation && inner?.Kind === valueKind.variable ? variables.get(inner.Raw) : undefined;
      if (variable) this.#demand(variable.Type?.NonNull === true, 'a variable must not be null');
    }
  }
}
