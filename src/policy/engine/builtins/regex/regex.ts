import { RE2JS } from 're2js';
import {
  type Builtin,
  type BuiltinContext,
  BuiltinError,
  type BuiltinTable,
  count,
  text,
} from '../builtin.ts';
import { compile } from './compiled.ts';

const match: Builtin = ([pattern, value], context) => matchesPattern(text(pattern), text(value), context);

/** Whether an expression is found in a text. @throws BuiltinError for what is no expression */
export function matchesPattern(pattern: string, value: string, context: BuiltinContext): boolean {
  return findAll(pattern, value, 1, context).length > 0;
}

/**
 * Regular expressions on RE2, whose time is linear in the text. The runtime's own would backtrack without end on a
 * tenant's pattern.
 */
export const regexBuiltins: BuiltinTable = {
  'regex.match': match,
  re_match: match,
  'regex.is_valid': ([pattern], context) => typeof pattern === 'string' && isValid(pattern, context),
  'regex.find_all_string_submatch_n': ([pattern, value, limit], context) => {
    const whole = text(value);
    const matches = findAll(text(pattern), whole, count(limit), context);
    return matches.map((found) =>
      Array.from({ length: found.length / 2 }, (_, group) => groupOf(found, group, whole, context)),
    );
  },
  'regex.find_n': ([pattern, value, limit], context) => {
    const matches = findAll(text(pattern), text(value), count(limit), context);
    return matches.map(([start = 0, end = 0]) => text(value).slice(start, end));
  },
  'regex.split': ([pattern, value], context) => split(text(pattern), text(value), context),
  'regex.replace': ([value, pattern, replacement], context) =>
    replace(text(value), text(pattern), text(replacement), context),
  'regex.template_match': ([template, value, open, close], context) => {
    const pattern = fromTemplate(text(template), text(open), text(close), context);
    return findAll(pattern, text(value), 1, context).length > 0;
  },
};

/** Fuel units of a character searched, and of one taken past one instruction, as RE2's slowest engine does. */
const unitsPerCharacter = 100;
const unitsPerStep = 8;

function isValid(pattern: string, context: BuiltinContext): boolean {
  try {
    compile(pattern, context);
    return true;
  } catch (error) {
    if (error instanceof BuiltinError) return false;
    throw error;
  }
}

/** Empty for one that took no part. */
function groupOf(match: Match, group: number, value: string, context: BuiltinContext): string {
  const [start = -1, end = -1] = [match[2 * group], match[2 * group + 1]];
  context.spend(unitsPerCharacter + end - start);
  return start < 0 ? '' : value.slice(start, end);
}

/** Start and end of each match and of its groups (-1 for one that took no part), as Go's FindAllSubmatchIndex. */
type Match = readonly number[];

function findAll(pattern: string, value: string, limit: number, context: BuiltinContext): Match[] {
  const expression = compile(pattern, context);
  const matches: Match[] = [];
  const matcher = expression.matcher(value);
  const unitsPerSearched = unitsPerCharacter + expression.programSize() * unitsPerStep;
  let lastEnd = -1;
  const most = limit < 0 ? Number.POSITIVE_INFINITY : limit;
  while (matches.length < most) {
    // Each search may look at all that is left, however near the match is.
    context.spend((value.length + 1 - Math.max(lastEnd, 0)) * unitsPerSearched);
    if (!matcher.find()) break;
    const [start, end] = [matcher.start(), matcher.end()];
    // Go has no empty match right behind another.
    if (start === end && start === lastEnd) continue;
    lastEnd = end;
    const match: number[] = [];
    for (let group = 0; group <= matcher.groupCount(); group += 1)
      match.push(matcher.start(group), matcher.end(group));
    matches.push(match);
  }
  return matches;
}

/** Go's Regexp.Split without a limit. */
function split(pattern: string, value: string, context: BuiltinContext): string[] {
  if (pattern !== '' && value === '') {
    compile(pattern, context);
    return [''];
  }
  const pieces: string[] = [];
  let [begin, finish] = [0, 0];
  for (const [start = 0, end = 0] of findAll(pattern, value, -1, context)) {
    finish = start;
    if (end !== 0) pieces.push(value.slice(begin, finish));
    begin = end;
  }
  if (finish !== value.length) pieces.push(value.slice(begin));
  return pieces;
}

function replace(value: string, pattern: string, replacement: string, context: BuiltinContext): string {
  const names = compile(pattern, context).namedGroups();
  let output = '';
  let at = 0;
  for (const match of findAll(pattern, value, -1, context)) {
    const [start = 0, end = 0] = match;
    const expanded = expand(replacement, value, match, names);
    context.spend(expanded.length + replacement.length);
    output += value.slice(at, start) + expanded;
    at = end;
  }
  return output + value.slice(at);
}

/** Go's Regexp.Expand: `$1`, `${1}`, `$name`, `${name}`, `$$`; the name is as long as it can be. */
function expand(
  template: string,
  value: string,
  match: Match,
  names: Readonly<Record<string, number>>,
): string {
  return template.replace(
    /\$(?:(\$)|\{([\p{L}\p{Nd}_]+)\}|([\p{L}\p{Nd}_]+))/gu,
    (_, dollar: string | undefined, braced: string | undefined, bare: string | undefined) => {
      if (dollar) return '$';
      const name = braced ?? bare ?? '';
      // A number with a leading zero is a name.
      const group = /^(?:0|[1-9]\d{0,8})$/.test(name) ? Number(name) : names[name];
      const start = group === undefined ? -1 : (match[group * 2] ?? -1);
      return start < 0 || group === undefined ? '' : value.slice(start, match[group * 2 + 1]);
    },
  );
}

/** `/path/<[0-9]+>` with `<` and `>`: a regular expression between the delimiters, plain text around. */
function fromTemplate(template: string, open: string, close: string, context: BuiltinContext): string {
  if (Buffer.byteLength(open) !== 1 || Buffer.byteLength(close) !== 1)
    throw new BuiltinError('a delimiter has to be one character');
  let pattern = '^';
  let [level, begin, end] = [0, 0, 0];
  for (let at = 0; at < template.length; at += 1) {
    if (template[at] === open) {
      level += 1;
      if (level === 1) begin = at;
    } else if (template[at] === close) {
      level -= 1;
      if (level < 0) throw new BuiltinError('unbalanced delimiters');
      if (level > 0) continue;
      const inner = template.slice(begin + 1, at);
      compile(`^${inner}$`, context);
      pattern += `${RE2JS.quote(template.slice(end, begin))}(${inner})`;
      end = at + 1;
    }
  }
  if (level !== 0) throw new BuiltinError('unbalanced delimiters');
  return `${pattern}${RE2JS.quote(template.slice(end))}$`;
}
