import { decidedInstead, decidedModule } from '../decided.ts';
import { servedModule } from '../serving.ts';
import type { PolicySources } from '../sources.ts';
import type { Platform } from './platform.ts';

/** Those that read what the tenant decides. */
const DECIDING = ['decision.rego', 'plan.rego'];

/** The platform's modules for one tenant: those that every tenant has, and what is made of its manifest. */
export function platformFor(
  { modules }: Pick<Platform, 'modules'>,
  sources: Pick<PolicySources, 'documents' | 'decision' | 'modules'>,
): Platform['modules'] {
  const served = servedModule(sources);
  const decided = decidedModule(sources);
  if (served === undefined && decided === undefined) return modules;
  const made = new Map(modules);
  if (served !== undefined) made.set('served.rego', Buffer.from(served));
  if (decided === undefined) return made;
  made.set('decided.rego', Buffer.from(decided));
  for (const name of DECIDING) {
    const text = modules.get(name)?.toString();
    if (text !== undefined) made.set(name, Buffer.from(decidedInstead(text)));
  }
  return made;
}
