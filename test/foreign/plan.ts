import { output } from './programs.ts';

/**
 * What the programs of tools/clients are given and what they tell. They know gRPC and nothing of Mandate: messages are
 * bytes, in base64 on the way.
 */

/** A call; all calls of a plan begin at once. */
export interface Call {
  /** Its path. */
  readonly method: string;
  /** One, or those of a stream. */
  readonly messages: readonly Uint8Array[];
  /** A stream both ways, whose answers are read while it sends. */
  readonly stream?: boolean;
  readonly gzip?: boolean;
  readonly metadata?: Readonly<Record<string, string>>;
  readonly timeoutNs?: number;
  /** Microseconds after which the client gives the call up. */
  readonly cancelAfter?: number;
  /** Before each message of a stream but the first. */
  readonly restMs?: number;
}

export interface Plan {
  /** host:port. */
  readonly address: string;
  /** A file of the authority that is trusted; without it, cleartext. */
  readonly ca?: string | undefined;
  /** The calls take turns on them. */
  readonly connections?: number;
  /** How long a connection is still before the client asks whether it stands. */
  readonly keepaliveMs?: number;
  readonly calls: readonly Call[];
}

/** How a call ended, in the order of the plan. */
export interface Outcome {
  /** gRPC's. */
  readonly code: number;
  readonly message: string;
  /** Of the trailer mandate-error-code. */
  readonly errorCode: string;
  readonly messages: readonly Uint8Array[];
}

export type Client = (plan: Plan) => Promise<readonly Outcome[]>;

/** gRPC's status codes, as far as tests name them. */
export const code = {
  ok: 0,
  cancelled: 1,
  deadlineExceeded: 4,
  permissionDenied: 7,
  resourceExhausted: 8,
  unauthenticated: 16,
} as const;

export const clientOf =
  (file: string, args: readonly string[] = []): Client =>
  async ({ calls, ...plan }) => {
    const input = JSON.stringify({
      ...plan,
      calls: calls.map((call) => ({ ...call, messages: call.messages.map(base64) })),
    });
    const outcomes = JSON.parse(await output(file, args, { input })) as Written[];
    return outcomes.map((each) => ({
      ...each,
      messages: each.messages.map((message) => Buffer.from(message, 'base64')),
    }));
  };

type Written = Omit<Outcome, 'messages'> & { readonly messages: readonly string[] };

const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');
