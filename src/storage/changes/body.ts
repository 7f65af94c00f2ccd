/**
 * What a command was given, as JSON that keeps bytes. They are `{"\0": base64}`; a name that begins with NUL, which tenants
 * may give their own things, has one more of them.
 */
const MARK = '\0';

export const encodeArgs = (args: unknown): string => JSON.stringify(marked(args));

export const decodeArgs = (text: string): unknown => unmarked(JSON.parse(text));

/** The same value where nothing in it needs a mark, as of nearly all. */
function marked(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (value instanceof Uint8Array) return { [MARK]: Buffer.from(value).toString('base64') };
  if (Array.isArray(value)) {
    const all = value.map(marked);
    return all.some((each, at) => each !== value[at]) ? all : value;
  }
  let isSame = true;
  const copy: Record<string, unknown> = {};
  for (const [name, member] of Object.entries(value)) {
    const own = marked(member);
    const isMarked = name.startsWith(MARK);
    isSame &&= own === member && !isMarked;
    put(copy, isMarked ? MARK + name : name, own);
  }
  return isSame ? value : copy;
}

function unmarked(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(unmarked);
  const copy: Record<string, unknown> = {};
  for (const [name, member] of Object.entries(value)) {
    if (name === MARK) return Buffer.from(String(member), 'base64');
    put(copy, name.startsWith(MARK) ? name.slice(1) : name, unmarked(member));
  }
  return copy;
}

/** Also a member that is called `__proto__`. */
function put(into: Record<string, unknown>, name: string, value: unknown): void {
  if (name === '__proto__')
    Object.defineProperty(into, name, { value, enumerable: true, configurable: true, writable: true });
  else into[name] = value;
}

/** The commands that are given a private part, sealed. */
const SEALING: ReadonlySet<string> = new Set(['putKey', 'replaceKeys']);

export const hasSecrets = (name: string): boolean => SEALING.has(name);

/** What of it is kept and sent to those who follow: no private part of a key, sealed or not. */
export function withoutSecrets<Args>(name: string, args: Args): Args {
  if (!SEALING.has(name)) return args;
  const { key, ...rest } = args as { key: { sealed: Uint8Array } };
  return { ...rest, key: { ...key, sealed: new Uint8Array() } } as Args;
}
