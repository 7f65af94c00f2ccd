import { ServiceError } from '../errors.ts';
import type { Manifest } from '../tenancy/manifest.ts';
import type { Bundle } from './bundle.ts';
import { type Diagnostic, policyInvalid } from './diagnostics.ts';
import type { Limits } from './engine/instance.ts';
import { PolicyModule } from './engine/module.ts';

const PAGES_PER_MIB = 16;
/** What a question that is asked as a proof may spend, whatever the tenant allows its own. */
const PROOF_FUEL = 5_000_000;
/** Of tenants that have a package `audit`. */
export const AUDIT = 'mandate/audit';
/** Of tenants that have a package `approval`. */
export const APPROVAL = 'mandate/approval';
const ENTRY_POINTS = ['mandate/decision', 'mandate/delegation', AUDIT, APPROVAL];

/** What the operator allows each tenant unless its manifest says otherwise. */
export interface Allowance {
  readonly fuel: number;
  readonly memoryMib: number;
}

export const limitsFor = ({ limits }: Manifest, allowance: Allowance): Limits => ({
  fuel: limits.fuel ?? allowance.fuel,
  memoryPages: (limits.memory_mib ?? allowance.memoryMib) * PAGES_PER_MIB,
});

/** What tenants on one revision share: compiled code without state, and the bytes a memory begins with. */
export interface Proven {
  readonly revision: string;
  readonly module: PolicyModule;
  /** JSON text. */
  readonly data: string;
  readonly image: Uint8Array;
  /** The smallest memory in which it was shown to run. */
  memoryPages: number;
}

/**
 * Shows that a bundle runs within these limits before anybody depends on it: its module loads, its data fits, and a
 * question can be asked with what memory is left. Throws `policy_invalid`.
 */
export function prove(bundle: Bundle, limits: Limits, module = PolicyModule.compile(bundle.wasm)): Proven {
  try {
    const instance = module.instantiate(bundle.data, limits);
    const image = instance.image();
    const fuel = Math.min(limits.fuel, PROOF_FUEL);
    for (const entryPoint of ENTRY_POINTS.filter((each) => module.entrypoints.has(each)))
      ask(() => instance.evaluate(entryPoint, '{}', { nowMs: 0, seed: '' }, fuel));
    const { revision, data } = bundle;
    return { revision, module, data, image, memoryPages: limits.memoryPages };
  } catch (cause) {
    if (!isTooLarge(cause)) throw cause;
    const mib = limits.memoryPages / PAGES_PER_MIB;
    throw policyInvalid([
      tooLarge(`the policy and ${bundle.data.length} bytes of data need more than ${mib} MiB`),
    ]);
  }
}

const tooLarge = (message: string): Diagnostic => ({
  file: 'data',
  line: 0,
  message: `${message} of memory (limits.memory_mib); data takes some four times its JSON`,
});

const isTooLarge = (error: unknown): boolean =>
  error instanceof ServiceError && error.code === 'policy_memory_exceeded';

/** An input that says nothing may make a policy fail in any way it likes, but for having no room. */
function ask(question: () => unknown): void {
  try {
    question();
  } catch (error) {
    if (isTooLarge(error)) throw error;
  }
}
