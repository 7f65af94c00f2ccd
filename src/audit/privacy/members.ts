import { isWithin, type Pointer, parsePointer, pointerText } from './pointer.ts';

/** Stands for any index. */
const ANY = '*';

const PRINCIPALS: readonly Pointer[] = [['subject'], ['actors', ANY]];

/** What of an input can be sealed, whole or in part: readers, indexes and reports need none of it. */
const SEALABLE: readonly Pointer[] = [
  ['context'],
  ['data_input'],
  ['action', 'properties'],
  ['resource', 'properties'],
  ['grant', 'authorization_details'],
  ...PRINCIPALS.map((one) => [...one, 'properties']),
];

/** Of groups and roles the log tells each change, so that to seal them here would promise too much. */
const MASKABLE: readonly Pointer[] = [
  ...SEALABLE,
  ...PRINCIPALS.flatMap((one) => [
    [...one, 'groups'],
    [...one, 'roles'],
  ]),
];

/** What the input has beside, by the first name: why it stays. */
const KEPT: Readonly<Record<string, string>> = {
  now: 'when it was decided',
  tenant: 'whose record it is',
  subject: 'on whose behalf it is',
  actors: 'who acts',
  target: 'whom it is about',
  action: 'what is done',
  resource: 'what it is done to',
  grant: 'under which grant it is done',
  usage: 'how much was counted before',
  approval: 'who approved it',
  stated: 'whom the request named',
};

/** Whether a member of the input may be kept out of its record. */
export const isMaskable = (pointer: Pointer): boolean => isIn(MASKABLE, pointer);

const isIn = (places: readonly Pointer[], pointer: Pointer): boolean =>
  places.some((place) =>
    isWithin(
      pointer,
      place.map((token, at) => (token === ANY && isIndex(pointer[at]) ? (pointer[at] ?? '') : token)),
    ),
  );

const isIndex = (token: string | undefined): boolean =>
  token !== undefined && /^(?:0|[1-9][0-9]?)$/.test(token);

/** Why a text names no member that can be sealed; undefined where it does. */
export function unsealable(text: string): string | undefined {
  const pointer = parsePointer(text);
  if (!pointer) return 'a JSON Pointer into the input, such as /context/patient';
  if (isIn(SEALABLE, pointer)) return undefined;
  const [first = ''] = pointer;
  const said = Object.hasOwn(KEPT, first) ? KEPT[first] : undefined;
  if (said === undefined) return `the input has no member /${first}; ${CAN}`;
  return `${pointerText(pointer)} says ${said}, which every reader and index of the log needs; ${CAN}`;
}

/** Whether the input may have such a member at all. */
export const isOfInput = ([first = '']: Pointer): boolean =>
  Object.hasOwn(KEPT, first) || SEALABLE.some(([root]) => root === first);

const CAN =
  'what can be sealed is in /context, /data_input, /grant/authorization_details, /action/properties, /resource/properties, /subject/properties and /actors/<index>/properties';
