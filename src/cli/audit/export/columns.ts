import type { AuditRecord } from '../../../audit/read.ts';

/** What a table shows of a record beside its index and its time, as text; empty where it has none. */
export const columns: readonly (readonly [string, (record: AuditRecord) => string])[] = [
  ['kind', ({ kind }) => kind],
  ['outcome', ({ outcome }) => outcome],
  ['subject', ({ subject }) => nameOf(subject)],
  ['actors', ({ actors }) => actors.map(nameOf).join(' ')],
  ['target', ({ target }) => nameOf(target)],
  ['action', ({ action }) => action],
  ['resource', ({ resource: { type, id } }) => (type === '' ? '' : `${type}:${id}`)],
  ['reasons', ({ reasons }) => reasons.map(({ code }) => code).join(' ')],
  ['rules', ({ rules }) => rules.join(' ')],
  ['revision', ({ revision }) => revision],
  ['decision_id', ({ decisionId }) => decisionId],
  ['grant_id', ({ grantId }) => grantId],
  ['caller', ({ caller }) => caller],
];

const nameOf = (one: { class: string; id: string } | undefined): string =>
  one ? `${one.class}:${one.id}` : '';
