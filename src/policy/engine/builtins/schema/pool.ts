import { isArray, RegoObject, type Value } from '../../values/values.ts';
import { type BuiltinContext, BuiltinError } from '../builtin.ts';
import { unmarshalJson } from '../data/documents.ts';
import { Reference } from '../net/references.ts';
import { mustBeOfType, SchemaError } from './messages.ts';
import { metaSchemas } from './metaschemas.ts';

/** Draft 4, 6 or 7; what names none is taken for all of them together. */
export type Draft = number;
export const hybrid = Number.POSITIVE_INFINITY;

const drafts: Readonly<Record<string, Draft>> = {
  'http://json-schema.org/draft-04/schema': 4,
  'http://json-schema.org/draft-06/schema': 6,
  'http://json-schema.org/draft-07/schema': 7,
};

/** Fuel units of a value that is looked through for references. */
const unitsPerValue = 2_500;

interface Pooled {
  readonly document: Value;
  readonly draft: Draft | undefined;
}

/** The documents of a schema by their references, and where each reference leads. */
export class SchemaPool {
  readonly #documents = new Map<string, Pooled>();
  /** By the object that has the `$ref`. */
  readonly #absolute = new Map<RegoObject, string>();
  readonly #context: BuiltinContext;

  constructor(context: BuiltinContext) {
    this.#context = context;
  }

  /** `$schema` of a document. */
  draftOf(document: Value): Draft | undefined {
    if (typeof document === 'boolean') return undefined;
    if (!(document instanceof RegoObject)) throw new SchemaError('schema is invalid');
    const named = document.get('$schema');
    if (named === undefined) return undefined;
    if (typeof named !== 'string') throw mustBeOfType('$schema', 'string');
    return drafts[Reference.parse(named, this.#context).text];
  }

  add(document: Value, reference: Reference): void {
    if (this.#documents.has(reference.text)) throw exists(reference);
    const draft = this.draftOf(document);
    this.#read(document, reference, draft);
    this.#documents.set(reference.text, { document, draft });
  }

  /** The `$ref` of an object, as seen from the document. */
  referenceOf(object: RegoObject): Value | undefined {
    return this.#absolute.get(object) ?? object.get('$ref');
  }

  /** What a reference leads to. Nothing is ever fetched. */
  find(reference: Reference): Pooled {
    const known = this.#documents.get(reference.text);
    if (known) return known;
    const base = this.#documents.get(reference.withoutFragment);
    if (base) {
      const found = { document: this.#at(base.document, reference.url.fragment), draft: base.draft };
      this.#documents.set(reference.text, found);
      return found;
    }
    const isFile = reference.url.scheme === 'file';
    if (isFile ? !reference.url.path.startsWith('/') : !reference.isFull)
      throw new SchemaError(`Reference ${reference.text} must be canonical`);
    const metaSchema = metaSchemas[reference.withoutFragment];
    if (metaSchema === undefined)
      throw new SchemaError(`remote reference loading disabled: ${reference.text}`);
    const document = unmarshalJson(metaSchema, this.#context);
    this.add(document, Reference.parse(reference.withoutFragment, this.#context));
    return {
      document: this.#at(document, reference.url.fragment),
      draft: this.draftOf(document),
    };
  }

  /** RFC 6901. A fragment that is no pointer is the whole document. */
  #at(document: Value, fragment: string): Value {
    if (!fragment.startsWith('/')) return document;
    return fragment
      .slice(1)
      .split('/')
      .reduce((node: Value, token) => {
        this.#context.spend(unitsPerValue);
        return step(node, token);
      }, document);
  }

  /** What is wrong with an identifier or a reference is found when the schema is compiled. */
  #read(node: Value, reference: Reference, draft: Draft | undefined): void {
    this.#context.spend(unitsPerValue);
    if (isArray(node)) for (const each of node) this.#read(each, reference, draft);
    if (!(node instanceof RegoObject)) return;
    const scope = this.#scopeOf(node, reference, draft);
    const target = node.get('$ref');
    const child = typeof target === 'string' ? this.#parse(target) : undefined;
    const absolute = child && this.#resolve(scope, child);
    if (absolute) this.#absolute.set(node, absolute.text);
    for (const [name, value] of node.sorted()) {
      // These are values and no schemas.
      if (name === 'const' || name === 'enum') continue;
      if (name === 'properties' || name === 'dependencies' || name === 'patternProperties') {
        if (value instanceof RegoObject)
          for (const [, inner] of value.sorted()) this.#read(inner, scope, draft);
      } else this.#read(value, scope, draft);
    }
  }

  #scopeOf(node: RegoObject, reference: Reference, draft: Draft | undefined): Reference {
    const id = node.get('id') ?? node.get('$id');
    const child = typeof id === 'string' ? this.#parse(id) : undefined;
    const scope = child && this.#resolve(reference, child);
    if (!scope) return reference;
    if (this.#documents.has(scope.text)) throw exists(scope);
    this.#documents.set(scope.text, { document: node, draft });
    return scope;
  }

  #parse(text: string): Reference | undefined {
    return attempt(() => Reference.parse(text, this.#context));
  }

  #resolve(parent: Reference, child: Reference): Reference | undefined {
    return attempt(() => parent.resolve(child, this.#context));
  }
}

const exists = ({ text }: Reference): SchemaError => new SchemaError(`Reference already exists: "${text}"`);

function attempt<T>(parse: () => T): T | undefined {
  try {
    return parse();
  } catch (error) {
    if (error instanceof BuiltinError) return undefined;
    throw error;
  }
}

function step(node: Value, token: string): Value {
  if (node instanceof RegoObject) {
    const name = token.replaceAll('~1', '/').replaceAll('~0', '~');
    const found = node.get(name);
    if (found === undefined) throw new SchemaError(`Object has no key '${name}'`);
    return found;
  }
  if (!isArray(node)) throw new SchemaError(`Invalid token reference '${token}'`);
  if (!/^[-+]?\d+$/.test(token)) throw new SchemaError(`Invalid array index '${token}'`);
  const found = node[Number(token)];
  if (found === undefined)
    throw new SchemaError(`Out of bound array[0,${node.length}] index '${Number(token)}'`);
  return found;
}
