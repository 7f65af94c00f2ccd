import { isArray, type RegoObject } from '../../values/values.ts';
import type { Compiler } from './compile.ts';
import { isSchema } from './members.ts';
import { invalidType } from './messages.ts';
import type { SchemaNode } from './node.ts';

/** `items` and `additionalItems`: one schema for each element, or one for each place and one for the rest. */
export function readArrays(compiler: Compiler, document: RegoObject, node: SchemaNode): void {
  const items = document.get('items');
  const wrong = () => invalidType('Valid Schema/Array Of Schemas', 'items');
  if (isArray(items)) {
    node.items = items.map((item) => {
      if (!isSchema(item)) throw wrong();
      return compiler.child(item, node);
    });
  } else if (items !== undefined) {
    if (!isSchema(items)) throw wrong();
    node.items = compiler.child(items, node);
  }
  const additional = document.get('additionalItems');
  if (additional !== undefined)
    node.additionalItems = compiler.booleanOrSchema(additional, node, 'additionalItems');
}
