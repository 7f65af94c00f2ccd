import type { SourceFile } from '../sources.ts';

/** Where a tenant's policy is pulled from. */
export interface BundleSource {
  /** As operators and the log name it: without credentials. */
  readonly name: string;
  /**
   * What stands there. Rejects with `NotPulled` where it cannot be had now, and with `policy_invalid` where it is no
   * bundle, or not one that is signed as it has to be.
   */
  pull(etag: string | undefined, signal: AbortSignal): Promise<Pulled>;
  /** Calls back when something changed there; left out where nothing can be heard of it. */
  watch?(changed: () => void): Disposable;
}

export type Pulled =
  /** What has this tag is still there. */
  | { readonly files: undefined; readonly waited: boolean }
  | {
      readonly files: readonly SourceFile[];
      /** Of this version; undefined where the source has none. */
      readonly etag: string | undefined;
      /** What its author calls it; may be empty. */
      readonly label: string;
      /** The source holds requests until there is something new, so the next may be sent at once. */
      readonly waited: boolean;
    };

/** It cannot be had now. The message is for operators, and tells nothing that is secret. */
export class NotPulled extends Error {
  override readonly name = 'NotPulled';
  /** How long the source wants to be left alone, in milliseconds. */
  readonly waitMs: number | undefined;

  constructor(message: string, options: { cause?: unknown; waitMs?: number | undefined } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.waitMs = options.waitMs;
  }
}
