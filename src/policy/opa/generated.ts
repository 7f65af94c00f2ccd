import { servedModule } from '../serving.ts';
import type { PolicySources } from '../sources.ts';
import type { Platform } from './platform.ts';

/** The platform's modules for one tenant: those that every tenant has, and what is made of its manifest. */
export function platformFor(
  { modules }: Pick<Platform, 'modules'>,
  sources: Pick<PolicySources, 'documents'>,
): Platform['modules'] {
  const served = servedModule(sources);
  if (served === undefined) return modules;
  return new Map([...modules, ['served.rego', Buffer.from(served)]]);
}
