import type { Sealing } from '../../audit/proof/keys.ts';
import type { TenantId } from '../../ids.ts';

/** What seals the keys of tenants, by a key of each that is kept sealed itself. */
export interface TenantSealing extends Sealing {
  /** Once, before anything is sealed or opened. What cannot be had now is in `problems`, and tried again. */
  open(): Promise<void>;
  /** The key of a tenant may have come into the store from another server. What cannot be had is as above. */
  heard(tenant: TenantId): Promise<void>;
  /** Seals the key of each tenant anew, by another master key or what a KMS has for one. Rejects with `unavailable`. */
  rotateMaster(caller: string): Promise<Resealed>;
  /** Goes on where that was broken off, or where the key of a tenant is sealed by what it is not to be. */
  settle(failed: (error: unknown) => void): Promise<void>;
  /** Tenants whose key cannot be had, and why. */
  problems(): readonly { readonly tenant: TenantId; readonly why: string }[];
}

export interface Resealed {
  /** How many tenants' keys. */
  readonly tenants: number;
  /** The name of the KMS that wraps them; empty where a master key seals them. */
  readonly kms: string;
}

/** What a master key of before is bound to, under the one that followed. */
export const OLDER_MASTER = 'mandate-older-master-key';
