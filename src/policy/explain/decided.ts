import type { Bench } from '../compiler.ts';
import { isMapping, MAPPING } from '../decided.ts';
import type { PolicySources } from '../sources.ts';
import type { Asked } from './engine.ts';
import { askOpa } from './opa.ts';

/** What tenant.yaml names as its decision, and the input that it has. */
export interface Theirs {
  readonly asked: Asked;
  readonly input: unknown;
  /** Of rules, such as `shop.authz.allow`. */
  readonly names: readonly string[];
}

const MEMBERS = ['deny', 'challenge', 'allow', 'obligations', 'reasons'];

/** Undefined where the package authz decides. Where there is nothing to ask it with, the mapping is to be explained. */
export async function theirsOf(
  bench: Bench,
  { decision, modules }: PolicySources,
  asked: Asked,
): Promise<Theirs | undefined> {
  if (decision === undefined || asked.entryPoint !== 'mandate/decision') return undefined;
  const name = decision.slice('data.'.length);
  const texts = [...modules.values()];
  const names = texts.some((text) => isPackage(text, name))
    ? MEMBERS.map((each) => `${name}.${each}`)
    : [name];
  const given: unknown = JSON.parse(asked.input);
  if (!texts.some(isMapping)) return { asked, input: given, names };
  const mapped = await askOpa(bench, { ...asked, entryPoint: `${MAPPING}/asked` });
  if (mapped.value === undefined) return { asked, input: given, names: [`${MAPPING}.asked`] };
  return { asked: { ...asked, input: JSON.stringify(mapped.value) }, input: mapped.value, names };
}

const isPackage = (text: string, name: string): boolean =>
  text.split('\n').some((line) => /^\s*package\s+(\S+)/.exec(line)?.[1] === name);
