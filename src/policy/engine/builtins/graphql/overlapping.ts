import { compareText } from '../../values/values.ts';
import { BuiltinError } from '../builtin.ts';
import type { Node, Selection } from './nodes.ts';
import { valueKind } from './parsing.ts';
import { isLeaf, type TypeInfo } from './types.ts';
import type { Walker } from './walking.ts';

const unitsPerComparison = 1_500;
const unitsPerSelection = 800;
const deepest = 500;

interface Placed {
  readonly field: Node<'Field'>;
  readonly parent: TypeInfo | undefined;
  readonly definition: Node<'FieldDefinition'> | undefined;
}

/** The fields of a selection by the names of their answers, and the fragments that it spreads. */
interface Collected {
  readonly fields: ReadonlyMap<string, readonly Placed[]>;
  readonly spreads: readonly string[];
}

/**
 * Fields of one answer can be merged (October 2021 section 5.3.2), by the algorithm of graphql-js: each pair of
 * selections and fragments is compared once. The pairs are as many as the square of the fields, and each is paid for.
 */
export class OverlappingFields {
  readonly #walker: Walker;
  readonly #collected = new Map<readonly Selection[], Collected>();
  readonly #comparedFragments = new Map<string, boolean>();
  readonly #comparedFields = new Map<Collected, Map<string, boolean>>();
  readonly #parents = new Map<readonly Selection[], TypeInfo | undefined>();
  #depth = 0;

  constructor(walker: Walker) {
    this.#walker = walker;
    for (const operation of walker.document.Operations)
      this.#place(operation.SelectionSet, walker.schema.roots.get(operation.Operation || 'query'));
    for (const fragment of walker.document.Fragments)
      this.#place(fragment.SelectionSet, walker.schema.types.get(fragment.TypeCondition));
  }

  /** Which type the fields of a selection are of. */
  #place(selections: readonly Selection[], parent: TypeInfo | undefined): void {
    this.#depth += 1;
    if (this.#depth > deepest) throw new BuiltinError('nested too deeply');
    this.#parents.set(selections, parent);
    const { types } = this.#walker.schema;
    for (const selection of selections) {
      this.#walker.context.spend(unitsPerSelection);
      if (selection.$ === 'Field') {
        const type = innermost(this.#definitionOf(selection, parent)?.Type);
        this.#place(selection.SelectionSet, type === undefined ? undefined : types.get(type));
      } else if (selection.$ === 'InlineFragment')
        this.#place(
          selection.SelectionSet,
          selection.TypeCondition === '' ? parent : types.get(selection.TypeCondition),
        );
    }
    this.#depth -= 1;
  }

  #definitionOf(
    { Name: name }: Node<'Field'>,
    parent: TypeInfo | undefined,
  ): Node<'FieldDefinition'> | undefined {
    return name === '__typename' ? typeName : parent?.fields.get(name);
  }

  check(selections: readonly Selection[]): void {
    if (selections.length === 0) return;
    const collected = this.#collect(selections);
    for (const fields of collected.fields.values())
      for (const [at, one] of fields.entries())
        for (const other of fields.slice(at + 1)) this.#compare(false, one, other);
    for (const [at, one] of collected.spreads.entries()) {
      this.#withFragment(false, collected, one);
      for (const other of collected.spreads.slice(at + 1)) this.#fragments(false, one, other);
    }
  }

  #collect(selections: readonly Selection[]): Collected {
    const known = this.#collected.get(selections);
    if (known) return known;
    const fields = new Map<string, Placed[]>();
    const spreads: string[] = [];
    const visit = (inner: readonly Selection[]): void => {
      const parent = this.#parents.get(inner);
      for (const selection of inner) {
        this.#walker.context.spend(unitsPerSelection);
        if (selection.$ === 'InlineFragment') visit(selection.SelectionSet);
        else if (selection.$ === 'FragmentSpread') spreads.push(selection.Name);
        else {
          const name = selection.Alias || selection.Name;
          const list = fields.get(name) ?? [];
          list.push({ field: selection, parent, definition: this.#definitionOf(selection, parent) });
          fields.set(name, list);
        }
      }
    };
    visit(selections);
    const collected = { fields, spreads };
    this.#collected.set(selections, collected);
    return collected;
  }

  #fragment(name: string): Collected | undefined {
    const fragment = this.#walker.fragments.get(name);
    return fragment && this.#collect(fragment.SelectionSet);
  }

  #nested(work: () => void): void {
    this.#depth += 1;
    if (this.#depth > deepest) throw new BuiltinError('nested too deeply');
    work();
    this.#depth -= 1;
  }

  #withFragment(areExclusive: boolean, collected: Collected, name: string): void {
    this.#walker.context.spend(unitsPerComparison);
    const compared = this.#comparedFields.get(collected) ?? new Map<string, boolean>();
    this.#comparedFields.set(collected, compared);
    if (isCompared(compared.get(name), areExclusive)) return;
    compared.set(name, areExclusive);
    const fragment = this.#fragment(name);
    if (!fragment || fragment === collected) return;
    this.#nested(() => {
      this.#between(areExclusive, collected, fragment);
      for (const spread of fragment.spreads) this.#withFragment(areExclusive, collected, spread);
    });
  }

  #fragments(areExclusive: boolean, one: string, other: string): void {
    this.#walker.context.spend(unitsPerComparison);
    if (one === other) return;
    const key = one < other ? `${one} ${other}` : `${other} ${one}`;
    if (isCompared(this.#comparedFragments.get(key), areExclusive)) return;
    this.#comparedFragments.set(key, areExclusive);
    const [first, second] = [this.#fragment(one), this.#fragment(other)];
    if (!first || !second) return;
    this.#nested(() => {
      this.#between(areExclusive, first, second);
      for (const spread of second.spreads) this.#fragments(areExclusive, one, spread);
      for (const spread of first.spreads) this.#fragments(areExclusive, spread, other);
    });
  }

  #between(areExclusive: boolean, a: Collected, b: Collected): void {
    for (const [name, fields] of a.fields) {
      this.#walker.context.spend(unitsPerSelection);
      for (const one of fields)
        for (const other of b.fields.get(name) ?? []) this.#compare(areExclusive, one, other);
    }
  }

  #compare(parentsAreExclusive: boolean, a: Placed, b: Placed): void {
    this.#walker.context.spend(unitsPerComparison);
    if (!a.parent || !b.parent) return;
    const areExclusive =
      parentsAreExclusive ||
      (a.parent.name !== b.parent.name &&
        a.parent.kind === 'OBJECT' &&
        b.parent.kind === 'OBJECT' &&
        a.definition !== undefined &&
        b.definition !== undefined);
    if (!areExclusive && (a.field.Name !== b.field.Name || !this.#sameArguments(a.field, b.field)))
      throw new BuiltinError('fields conflict');
    if (a.definition && b.definition && this.#conflict(a.definition.Type, b.definition.Type))
      throw new BuiltinError('fields are of conflicting types');
    this.#nested(() => this.#selections(areExclusive, a.field.SelectionSet, b.field.SelectionSet));
  }

  #selections(areExclusive: boolean, a: readonly Selection[], b: readonly Selection[]): void {
    const [one, other] = [this.#collect(a), this.#collect(b)];
    this.#between(areExclusive, one, other);
    for (const spread of other.spreads) this.#withFragment(areExclusive, one, spread);
    for (const spread of one.spreads) this.#withFragment(areExclusive, other, spread);
    for (const first of one.spreads)
      for (const second of other.spreads) this.#fragments(areExclusive, first, second);
  }

  #sameArguments({ Arguments: a }: Node<'Field'>, { Arguments: b }: Node<'Field'>): boolean {
    this.#walker.context.spend((a.length + b.length) ** 2 * 20);
    if (a.length !== b.length) return false;
    return a.every(({ Name: name, Value: value }) =>
      b.some((other) => other.Name === name && this.#sameValue(value, other.Value)),
    );
  }

  #sameValue(a: Node<'Value'> | undefined, b: Node<'Value'> | undefined): boolean {
    this.#walker.context.spend(unitsPerSelection);
    if (!a || !b || a.Kind !== b.Kind || a.Raw !== b.Raw || a.Children.length !== b.Children.length)
      return false;
    const sorted = ({ Kind: kind, Children: children }: Node<'Value'>): readonly Node<'ChildValue'>[] =>
      kind === valueKind.object ? children.toSorted((x, y) => compareText(x.Name, y.Name)) : children;
    const others = sorted(b);
    return sorted(a).every(({ Name: name, Value: value }, at) => {
      const other = others[at];
      return other?.Name === name && this.#sameValue(value, other.Value);
    });
  }

  #conflict(a: Node<'Type'> | undefined, b: Node<'Type'> | undefined): boolean {
    if (!a || !b) return a !== b;
    if (a.NonNull !== b.NonNull || (a.Elem === undefined) !== (b.Elem === undefined)) return true;
    if (a.Elem) return this.#conflict(a.Elem, b.Elem);
    const { types } = this.#walker.schema;
    const [one, other] = [types.get(a.NamedType), types.get(b.NamedType)];
    if (!one || !other) return true;
    return (isLeaf(one) || isLeaf(other)) && one.name !== other.name;
  }
}

/** What was compared as not exclusive was compared in full. */
const isCompared = (before: boolean | undefined, areExclusive: boolean): boolean =>
  before !== undefined && (areExclusive || !before);

function innermost(type: Node<'Type'> | undefined): string | undefined {
  let inner = type;
  while (inner && inner.NamedType === '') inner = inner.Elem;
  return inner?.NamedType;
}

const typeName = {
  $: 'FieldDefinition',
  Name: '__typename',
  Arguments: [],
  Type: { $: 'Type', NamedType: 'String', NonNull: false, Elem: undefined },
} as unknown as Node<'FieldDefinition'>;
