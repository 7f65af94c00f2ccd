import { describe } from '../../errors.ts';
import type { TenantPlace } from '../../tenancy/folder/list.ts';
import { readTenantFiles } from '../../tenancy/folder/read.ts';
import { MANIFEST } from '../../tenancy/manifest-invalid.ts';
import { sha256 } from '../bundle.ts';
import { policyInvalid } from '../diagnostics.ts';
import { watchFolder } from '../intake/watch.ts';
import { notTaken } from './refused.ts';
import { type BundleSource, NotPulled, type Pulled } from './source.ts';

/** For how long it must have stood still, in milliseconds: who writes in place does so in steps. */
const QUIET_MS = 20;

/**
 * A folder that something else keeps in order: git-sync, which swaps a link, or a volume of Kubernetes, which swaps
 * one too. It is read whole: never half of one version and half of another.
 */
export class FolderSource implements BundleSource {
  readonly name: string;
  readonly #place: TenantPlace;

  constructor(place: TenantPlace) {
    this.name = place.folder;
    this.#place = place;
  }

  async pull(etag: string | undefined): Promise<Pulled> {
    const read = await readTenantFiles(this.#place, QUIET_MS).catch((cause: unknown) => {
      throw new NotPulled(describe(cause), { cause });
    });
    const faults = read.faults.filter(({ file }) => file !== MANIFEST);
    // What is not mounted, or not written yet, says nothing of the policy.
    if (read.files.size === 0 && faults.length === 0) throw new NotPulled(`${this.name} holds no policy`);
    if (faults.length > 0)
      throw policyInvalid(faults.map(({ file, problem }) => ({ file, line: 0, message: problem })));
    const files = [...read.files].map(([path, bytes]) => ({ path, bytes }));
    if (!files.some(({ path }) => path.endsWith('.rego'))) throw notTaken('it holds no Rego');
    const tag = `"${sha256(JSON.stringify(files.map(({ path, bytes }) => [path, sha256(bytes)])))}"`;
    if (tag === etag) return { files: undefined, waited: false };
    return { files, etag: tag, label: '', waited: false };
  }

  watch(changed: () => void): Disposable {
    return watchFolder(this.#place.folder, () => {
      changed();
      return Promise.resolve();
    });
  }
}
