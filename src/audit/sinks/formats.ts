import type { Outgoing } from './backlog.ts';
import { ocsfEvent } from './ocsf.ts';
import type { SinkFormat } from './settings.ts';

/** How a batch is sent whole, and how a record is one line of a file. */
export interface Format {
  readonly contentType: string;
  readonly batch: (records: readonly Outgoing[]) => string;
  /** JSON, without a line break. */
  readonly line: (record: Outgoing) => string;
}

interface Body {
  readonly kind: string;
  readonly time: string;
  readonly decision_id: string;
  readonly outcome: string;
  readonly caller: string;
  readonly revision?: string;
  readonly cost?: number;
  readonly reasons?: readonly unknown[];
  readonly rules?: readonly string[];
  readonly obligations?: readonly unknown[];
  readonly input?: unknown;
  readonly masked?: readonly string[];
}

const textOf = ({ body }: Outgoing): string => Buffer.from(body).toString('utf8');
const bodyOf = (record: Outgoing): Body => JSON.parse(textOf(record)) as Body;

/** As it stands in the log, word for word: what is sent can be compared with a receipt. */
const record = (each: Outgoing): string =>
  `{"tenant":${JSON.stringify(each.tenant)},"log":${JSON.stringify(each.origin)},"index":${each.index},"record":${textOf(each)}}`;

/** CloudEvents 1.0, its JSON format. */
function cloudEvent(each: Outgoing): string {
  const { kind, time } = bodyOf(each);
  const head = {
    specversion: '1.0',
    // Together they are unlike any other's, and the same when it is sent again.
    source: each.origin === '' ? `/t/${each.tenant}/log` : `//${each.origin}`,
    id: String(each.index),
    type: `mandate.${kind}`,
    time,
    subject: each.tenant,
    datacontenttype: 'application/json',
  };
  return `${JSON.stringify(head).slice(0, -1)},"data":${textOf(each)}}`;
}

/** OPA's decision log, as its own service gets it. What was no decision has the path of its kind. */
function opaEvent(each: Outgoing): string {
  const { kind, time, decision_id, outcome, caller, revision, cost, reasons, rules, input, masked } =
    bodyOf(each);
  return JSON.stringify({
    labels: { app: 'mandate', tenant: each.tenant, log: each.origin },
    decision_id,
    path: kind === 'decision' ? 'mandate/decision' : `mandate/${kind}`,
    bundles: revision === undefined ? {} : { [each.tenant]: { revision } },
    input,
    masked,
    result: { decision: outcome, allow: outcome === 'allow', reasons, rules },
    requested_by: caller,
    timestamp: time,
    metrics: cost === undefined ? {} : { counter_mandate_fuel: cost },
    custom: { mandate_index: each.index },
  });
}

const lines =
  (line: (each: Outgoing) => string) =>
  (records: readonly Outgoing[]): string =>
    records.map((each) => `${line(each)}\n`).join('');
const array =
  (line: (each: Outgoing) => string) =>
  (records: readonly Outgoing[]): string =>
    `[${records.map(line).join(',')}]`;

export const formats: Readonly<Record<SinkFormat, Format>> = {
  records: { contentType: 'application/x-ndjson', batch: lines(record), line: record },
  cloudevents: {
    contentType: 'application/cloudevents-batch+json',
    batch: array(cloudEvent),
    line: cloudEvent,
  },
  ocsf: { contentType: 'application/x-ndjson', batch: lines(ocsfEvent), line: ocsfEvent },
  opa: { contentType: 'application/json', batch: array(opaEvent), line: opaEvent },
};
