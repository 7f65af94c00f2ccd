import { BuiltinError } from '../builtin.ts';

/** Go's domainNameValid: printable ASCII in labels that are not empty; a constraint may begin with a dot. */
export function isDomainName(name: string, isConstraint: boolean): boolean {
  if (name === '') return true;
  const labels = isConstraint && name.startsWith('.') ? name.slice(1) : name;
  if (/[^!-~]/.test(labels)) return false;
  return !labels.startsWith('.') && !labels.endsWith('.') && !labels.includes('..') && labels !== '';
}

export interface Mailbox {
  readonly local: string;
  readonly domain: string;
}

/** RFC 2821 section 4.1.2, as Go reads it; undefined for what is none. */
export function parseMailbox(text: string): Mailbox | undefined {
  const { local, end } = text.startsWith('"') ? readQuoted(text) : readAtoms(text);
  if (local === undefined || text[end] !== '@') return undefined;
  const domain = text.slice(end + 1);
  const isDomain = domain === '' || domain.split('.').every((label) => /^[!-~]+$/.test(label));
  return isDomain ? { local, domain } : undefined;
}

interface Local {
  readonly local: string | undefined;
  readonly end: number;
}

function readQuoted(text: string): Local {
  let local = '';
  for (let at = 1; at < text.length; at += 1) {
    const mark = text.charAt(at);
    if (mark === '"') return { local, end: at + 1 };
    const isEscaped = mark === '\\';
    if (isEscaped) at += 1;
    const byte = text.charCodeAt(at);
    const isAllowed = isEscaped
      ? (byte >= 1 && byte <= 9) || byte === 11 || byte === 12 || (byte >= 14 && byte <= 127)
      : (byte >= 1 && byte <= 8) || byte === 11 || byte === 12 || (byte >= 14 && byte <= 127);
    if (!isAllowed) break;
    local += text.charAt(at);
  }
  return { local: undefined, end: 0 };
}

function readAtoms(text: string): Local {
  let [local, at] = ['', 0];
  for (; at < text.length; at += 1) {
    if (text[at] === '\\') {
      at += 1;
      if (at === text.length) return { local: undefined, end: 0 };
    } else if (!/[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~.]/.test(text.charAt(at))) break;
    local += text.charAt(at);
  }
  const isLocal = local !== '' && !/^\.|\.$|\.\./.test(local);
  return { local: isLocal ? local : undefined, end: at };
}

/** Whether a name is one of those under a domain, both in any case; one that begins with a dot is of those below alone. */
export function isUnder(domain: string, name: string): boolean {
  const [suffix, whole] = [domain.toLowerCase(), name.toLowerCase()];
  if (!whole.endsWith(suffix)) return false;
  const before = whole.length - suffix.length;
  return before === 0 || suffix.startsWith('.') || whole[before - 1] === '.';
}

/** The name without its first label; empty for one label. */
export const parentOf = (name: string): string => (name.includes('.') ? name.slice(name.indexOf('.')) : '');

export const unreadable = (): BuiltinError =>
  new BuiltinError('a name that cannot be held against constraints');
