/** Where a sink sends records, and what it makes of them: plain data, as the configuration has it. */
export interface SinkSettings {
  /** By which its place in each log is kept. */
  readonly name: string;
  readonly to: HttpTarget | FileTarget | SyslogTarget;
  readonly format: SinkFormat;
  /** Tenant ids, or `*`. */
  readonly tenants: readonly string[];
  /** Left out: all. */
  readonly kinds?: readonly string[] | undefined;
  readonly outcomes?: readonly string[] | undefined;
  /** Where a sink begins that is new. */
  readonly from: 'beginning' | 'now';
}

export const sinkFormats = ['records', 'cloudevents', 'ocsf', 'opa'] as const;
export type SinkFormat = (typeof sinkFormats)[number];

export interface HttpTarget {
  readonly kind: 'http';
  readonly url: string;
  /** A file with a bearer token, read for each batch: it may be renewed. */
  readonly token_file?: string | undefined;
}

export interface FileTarget {
  readonly kind: 'file';
  readonly path: string;
  /** From how many bytes on another one is begun, and how many are kept beside it. */
  readonly max_bytes: number;
  readonly keep: number;
}

export interface SyslogTarget {
  readonly kind: 'syslog';
  readonly host: string;
  readonly port: number;
  /** In PEM, where the system's authorities are not those to trust. */
  readonly ca?: string | undefined;
}

/** What an operator is to know of a sink. */
export interface SinkState {
  readonly name: string;
  /** Records that are durable and not delivered. */
  readonly lag: number;
  readonly delivered: number;
  /** Why the last attempt failed; empty if it did not. */
  readonly problem: string;
}
