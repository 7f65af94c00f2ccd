import { rounded } from './harness/rounds.ts';
import type { Peers } from './peers/peers.ts';

/** One measured comparison, as bench/results.json holds it. */
export interface Row {
  readonly name: string;
  readonly unit: string;
  readonly ours: number;
  readonly other: number;
  /** ours / other. Whether more or less of it is better follows from the unit; the note says what is wanted. */
  readonly ratio: number;
  readonly note?: string | undefined;
  /** Every round's figure behind the two medians, and whatever else was seen. */
  readonly raw?: Readonly<Record<string, unknown>> | undefined;
}

/** What a measurement has at hand. */
export interface Bench {
  /** A temporary folder, gone at the end. */
  readonly folder: string;
  /** A smoke run: everything once and short. */
  readonly quick: boolean;
  readonly rounds: number;
  /** How often a round that something else disturbed is measured at most. */
  readonly tries: number;
  /** How long one round of load lasts. */
  readonly seconds: number;
  /** Servers of the scenario, started when first asked for and stopped at the end. */
  readonly peers: Peers;
  /** One line of progress. */
  readonly say: (line: string) => void;
}

/** Rows that are measured together. */
export interface RowGroup {
  readonly names: readonly string[];
  /** Measures at least the wanted rows. */
  readonly measure: (bench: Bench, wanted: ReadonlySet<string>) => Promise<Row[]>;
}

export function row(
  name: string,
  unit: string,
  ours: number,
  other: number,
  more: Pick<Row, 'note' | 'raw'> = {},
): Row {
  return { name, unit, ours: rounded(ours), other: rounded(other), ratio: rounded(ours / other), ...more };
}
