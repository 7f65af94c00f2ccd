import type { Diagnostic } from '../diagnostics.ts';
import { diagnosticsOf } from '../diagnostics.ts';
import type { RunOpa } from './child.ts';

/** What a schema's members may name: parts of itself, and the drafts that the compiler has within it. */
const OWN = /^#/;
const DRAFTS = /^https?:\/\/json-schema\.org\/(?:draft-0[467]\/)?schema#?$/;
const REFERENCES: Readonly<Record<string, RegExp>> = { $ref: OWN, $id: OWN, id: OWN, $schema: DRAFTS };

interface Annotated {
  readonly annotations?: { readonly schemas?: readonly { readonly definition?: unknown }[] };
  readonly location?: { readonly file?: string; readonly row?: number };
}

/**
 * Schemas in annotations that name files or hosts. The type checker would open them: a file's first bytes are in its
 * diagnostics, and an endless one fills the memory. The compiler's own parser reads the annotations, so no spelling of
 * YAML gets past; `inspect` reads them and follows nothing. To be run before anything that checks types.
 */
export async function foreignSchemas(files: ReadonlyMap<string, string>, run: RunOpa): Promise<Diagnostic[]> {
  // Without the word there is no annotation, and nothing to ask for.
  if (![...files.values()].some((text) => text.includes('METADATA'))) return [];
  const { code, stdout, stderr } = await run(['inspect', '--annotations', '--format', 'json', 'tenant']);
  if (code !== 0) return diagnosticsOf(stdout.trim() ? stdout : stderr);
  const { annotations = [] } = JSON.parse(stdout) as { annotations?: readonly Annotated[] };
  return annotations.flatMap(({ annotations: own, location }) => {
    const named = own?.schemas
      ?.map(({ definition }) => foreignIn(definition))
      .find((each) => each !== undefined);
    if (named === undefined) return [];
    const file = (location?.file ?? 'policy').replace(/^tenant\//, '');
    const message = `a schema names nothing outside itself; ${JSON.stringify(named.slice(0, 100))} does`;
    return [{ file, line: location?.row ?? 0, message }];
  });
}

function foreignIn(schema: unknown): string | undefined {
  if (typeof schema !== 'object' || schema === null) return undefined;
  for (const [name, value] of Object.entries(schema)) {
    const allowed = Object.hasOwn(REFERENCES, name) ? REFERENCES[name] : undefined;
    if (typeof value === 'string' && allowed && !allowed.test(value)) return value;
    const inner = foreignIn(value);
    if (inner !== undefined) return inner;
  }
  return undefined;
}
