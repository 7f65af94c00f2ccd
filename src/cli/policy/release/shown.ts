import { timestampDate } from '@bufbuild/protobuf/wkt';
import type { KeptRevision, Share } from '../../../gen/mandate/v1/policy_pb.ts';

/** Enough of a revision to name it by. */
export const short = (revision: string): string => revision.slice(0, 'sha256:'.length + 12);

const at = (time: KeptRevision['madeAt']): string => (time ? timestampDate(time).toISOString() : '');

export const testsOf = ({ tests }: KeptRevision): string => {
  const { passed = 0, skipped = 0, coverage } = tests ?? {};
  if (passed + skipped === 0) return 'none';
  const more = skipped === 0 ? '' : `, ${skipped} skipped`;
  return `${passed} passed${more}${coverage === undefined ? '' : `, ${coverage.toFixed(1)} % covered`}`;
};

const stateOf = ({ state, share }: KeptRevision): string =>
  share ? `${state} (${shareText(share)})` : state;

/** For whom, in words. */
export const shareText = ({ percent, principals }: Share): string =>
  [...(percent > 0 ? [`${percent} %`] : []), ...principals].join(', ');

/** A revision as a line of a table: see `HEAD`. */
export const lineOf = (each: KeptRevision): string[] => [
  String(each.number),
  short(each.revision),
  stateOf(each),
  at(each.madeAt),
  each.author,
  testsOf(each),
  each.message,
];

export const HEAD = ['NO', 'REVISION', 'STATE', 'MADE', 'BY', 'TESTS', 'MESSAGE'] as const;

export const fieldsOf = (each: KeptRevision): [string, string][] => [
  ['revision', each.revision],
  ['number', String(each.number)],
  ['state', stateOf(each)],
  ['parent', each.parent],
  ['by', each.author],
  ['message', each.message],
  ['made', at(each.madeAt)],
  ['activated', at(each.activatedAt)],
  ['tests', testsOf(each)],
  ['files', each.files.map(({ path }) => path).join(' ')],
];

export const documentOf = (each: KeptRevision): object => ({
  revision: each.revision,
  number: Number(each.number),
  state: each.state,
  parent: each.parent,
  author: each.author,
  message: each.message,
  made_at: at(each.madeAt),
  activated_at: at(each.activatedAt) || null,
  tests: {
    passed: each.tests?.passed ?? 0,
    skipped: each.tests?.skipped ?? 0,
    coverage: each.tests?.coverage ?? null,
  },
  files: each.files.map(({ path }) => path),
});
