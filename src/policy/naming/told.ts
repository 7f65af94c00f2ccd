import { MANIFEST } from '../../tenancy/manifest-invalid.ts';
import type { Diagnostic } from '../diagnostics.ts';
import { type Declared, type Kind, PLATFORM_ACTIONS } from './declared.ts';
import type { Mention } from './mentions.ts';
import { near } from './near.ts';

/** What is probably a mistake (`warning`), or worth knowing (`note`), and keeps no revision from being made. */
export interface Warning extends Diagnostic {
  readonly severity: 'warning' | 'note';
  /** What was probably meant. */
  readonly suggestion?: string;
}

/** Kinds of which all there are stand in the manifest, so that one that does not is worth knowing. */
const CLOSED: ReadonlySet<Kind> = new Set(['action', 'scope', 'class']);

const WORDS: Readonly<Record<Kind, string>> = {
  action: 'action',
  type: 'type of resources',
  role: 'role',
  group: 'group',
  scope: 'scope',
  principal: 'principal',
  class: 'class of principals',
};

/** How many pairs of names are compared, each with every one of its kind: a million take some five seconds. */
const MOST_PAIRS = 300_000;
/** Of a name, in a message. */
const MAX_NAME = 200;

/** What is told of a mention. */
export class Told {
  readonly #declared: Declared;
  /** Names are few, and mentions many. */
  readonly #near = new Map<string, string | undefined>();
  #pairs = 0;

  constructor(declared: Declared) {
    this.#declared = declared;
  }

  of({ kind, name, isPrefix, location }: Mention): Warning | undefined {
    const known = this.#declared[kind];
    if (isPrefix ? [...known].some((each) => each.startsWith(name)) : known.has(name)) return undefined;
    if (isPrefix) {
      if (kind !== 'action' || known.size === PLATFORM_ACTIONS.length) return undefined;
      return {
        ...warning(
          location,
          `no action in ${MANIFEST} begins with ${JSON.stringify(name.slice(0, MAX_NAME))}`,
        ),
        severity: 'note',
      };
    }
    const key = JSON.stringify([kind, name]);
    if (!this.#near.has(key)) this.#near.set(key, this.#nearest(name, known));
    const meant = this.#near.get(key);
    const what = kind === 'class' ? 'there is no' : `${MANIFEST} has no`;
    const said = warning(
      location,
      `${what} ${WORDS[kind]} ${JSON.stringify(name.slice(0, MAX_NAME))}`,
      meant,
    );
    if (meant !== undefined || kind === 'class') return said;
    // A tenant that declares none leaves them open.
    if (known.size === (kind === 'action' ? PLATFORM_ACTIONS.length : 0)) return undefined;
    return CLOSED.has(kind) ? { ...said, severity: 'note' } : undefined;
  }

  #nearest(name: string, known: ReadonlySet<string>): string | undefined {
    if (this.#pairs + known.size > MOST_PAIRS) return undefined;
    this.#pairs += known.size;
    return near(name, known);
  }
}

export const fileOf = (file: string): string => file.replace(/^tenant\//, '');

export function warning(
  { file, row, col: column }: { file: string; row: number; col: number },
  message: string,
  suggestion?: string,
): Warning {
  return {
    file: fileOf(file),
    line: row,
    column,
    message: suggestion === undefined ? message : `${message}; did you mean ${JSON.stringify(suggestion)}?`,
    severity: 'warning',
    ...(suggestion === undefined ? {} : { suggestion }),
  };
}
