import { isIPv4, isIPv6 } from 'node:net';
import type { Value } from '../../values/values.ts';
import { type BuiltinContext, BuiltinError } from '../builtin.ts';
import { parseUrl } from '../net/urls.ts';
import { compile } from '../regex/compiled.ts';
import { parseTime } from '../time/parsing.ts';
import { isEmail } from './email.ts';

type Format = (text: string, context: BuiltinContext) => boolean;

const unitsPerFormat = 20_000;
const unitsPerCharacter = 60;

/** Whether a value is of a format. What is no text is of any, and a format that is not known says nothing. */
export function isOfFormat(name: string, value: Value, context: BuiltinContext): boolean {
  const format = Object.hasOwn(formats, name) ? formats[name] : undefined;
  if (!format || typeof value !== 'string') return true;
  context.spend(unitsPerFormat + value.length * unitsPerCharacter);
  return format(value, context);
}

function succeeds(attempt: () => unknown): boolean {
  try {
    attempt();
    return true;
  } catch (error) {
    if (error instanceof BuiltinError) return false;
    throw error;
  }
}

const isTimeOf =
  (...layouts: readonly string[]): Format =>
  (text) =>
    layouts.some((layout) => succeeds(() => parseTime(layout, text)));

const isUri: Format = (text, context) => !text.includes('\\') && succeeds(() => schemeOf(text, context));

/** @throws BuiltinError if it has none */
function schemeOf(text: string, context: BuiltinContext): void {
  if (parseUrl(text, context).scheme === '') throw new BuiltinError('no scheme');
}

const isReference: Format = (text, context) =>
  !text.includes('\\') && succeeds(() => parseUrl(text, context));

/** Each brace that opens is closed. */
const isTemplate: Format = (text, context) => {
  if (!isReference(text, context)) return false;
  const { path } = parseUrl(text, context);
  return !path.includes('{') || path.lastIndexOf('{') < path.lastIndexOf('}');
};

const isIP: Format = (text) => isIPv4(text) || (isIPv6(text) && !text.includes('%'));

const label = '[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?';
const hostname = new RegExp(`^${label}(?:\\.${label})*$`);
const isPointer: Format = (text) => /^(?:\/|$)/.test(text) && !/~(?![01])/.test(text);

const clock = '15:04:05';
const clockAndZone = '15:04:05Z07:00';
const date = '2006-01-02';
const instants = ['2006-01-02T15:04:05Z07:00', '2006-01-02T15:04:05.999999999Z07:00'];

const formats: Readonly<Record<string, Format>> = {
  date: isTimeOf(date),
  time: isTimeOf(clockAndZone, clock),
  'date-time': isTimeOf(clock, clockAndZone, date, ...instants),
  hostname: (text) => text.length < 256 && hostname.test(text),
  email: isEmail,
  'idn-email': isEmail,
  ipv4: (text, context) => text.includes('.') && isIP(text, context),
  ipv6: (text, context) => text.includes(':') && isIP(text, context),
  uri: isUri,
  'uri-reference': isReference,
  iri: isUri,
  'iri-reference': isReference,
  'uri-template': isTemplate,
  uuid: (text) => /^[a-f0-9]{8}-(?:[a-f0-9]{4}-){3}[a-f0-9]{12}$/i.test(text),
  regex: (text, context) => succeeds(() => compile(text, context)),
  'json-pointer': isPointer,
  'relative-json-pointer': (text, context) => {
    const [all = '', rest = ''] = /^(?:0|[1-9][0-9]*)(?=(.?))/s.exec(text) ?? [];
    if (all === '') return false;
    return rest === '#' ? text.length === all.length + 1 : isPointer(text.slice(all.length), context);
  },
};
