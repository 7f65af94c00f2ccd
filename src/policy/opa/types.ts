/** A type as OPA's compiler writes it into its JSON (v1/types). */
interface OpaType {
  readonly type?: string;
  readonly name?: string;
  readonly of?: unknown;
  readonly static?: unknown;
  readonly dynamic?: unknown;
}

/** What the compiler knows of a mistake of types beside its message. */
export interface TypeDetails {
  /** Types of the arguments, null where one is not known; of a reference, one type. */
  readonly have?: unknown;
  readonly want?: unknown;
  /** Of a comparison that can never hold: its sides. */
  readonly a?: unknown;
  readonly b?: unknown;
}

/** Deeper ones are cut off. */
const MAX_DEPTH = 16;
const MAX_LENGTH = 400;

/** As the compiler prints it below its message: `have: (…)`, `want: (…)`, or the two sides. */
export function typeLines({ have, want, a, b }: TypeDetails): string[] {
  const lines: string[] = [];
  if (a !== undefined && b !== undefined) lines.push(`left  : ${text(a)}`, `right : ${text(b)}`);
  if (Array.isArray(have)) lines.push(`have: ${tuple(have)}`);
  else if (isType(have)) lines.push(`have: ${text(have)}`);
  const { args } = (want ?? {}) as { args?: unknown };
  if (Array.isArray(args)) lines.push(`want: ${tuple(args)}`);
  return lines.map((line) => (line.length > MAX_LENGTH ? `${line.slice(0, MAX_LENGTH)}…` : line));
}

const tuple = (types: readonly unknown[]): string => `(${types.map((each) => text(each)).join(', ')})`;

const isType = (value: unknown): value is OpaType =>
  typeof value === 'object' && value !== null && typeof (value as OpaType).type === 'string';

function text(value: unknown, depth = 0): string {
  if (!isType(value)) return '???';
  const { type = '', name, of, static: fixed, dynamic } = value;
  const inner = (each: unknown): string => text(each, depth + 1);
  const listed = (types: unknown): string =>
    Array.isArray(types) && types.length > 0 ? `<${types.map(inner).join(', ')}>` : '';
  const written = (): string => {
    if (depth >= MAX_DEPTH) return '…';
    if (type === 'any') return `any${listed(of)}`;
    if (type === 'set') return of === undefined ? 'set' : `set[${inner(of)}]`;
    if (type === 'array') return `array${listed(fixed)}${dynamic === undefined ? '' : `[${inner(dynamic)}]`}`;
    if (type === 'object') return `object${members(fixed, inner)}${pairs(dynamic, inner)}`;
    return type;
  };
  return name === undefined ? written() : `${name}: ${written()}`;
}

type Print = (type: unknown) => string;

function members(fixed: unknown, print: Print): string {
  if (!Array.isArray(fixed) || fixed.length === 0) return '';
  const all = fixed as { readonly key?: unknown; readonly value?: unknown }[];
  return `<${all.map(({ key, value }) => `${String(key)}: ${print(value)}`).join(', ')}>`;
}

function pairs(dynamic: unknown, print: Print): string {
  if (typeof dynamic !== 'object' || dynamic === null) return '';
  const { key, value } = dynamic as { key?: unknown; value?: unknown };
  return `[${print(key)}: ${print(value)}]`;
}
