import type { Peers } from '../peers/peers.ts';
import { questions, typical } from './questions.ts';

/** Policies that say different things cannot be compared. Throws at the first question that is decided differently. */
export async function assertAgreement(peers: Peers): Promise<{ asked: number; allowed: number }> {
  const contenders = { mandate: await peers.mandate(), cerbos: await peers.cerbos(), opa: await peers.opa() };
  // Few enough people that all of them are in Mandate's directory.
  const asked = [typical, ...questions(59, 100)];
  let allowed = 0;
  for (const question of asked) {
    const answers = await Promise.all(
      Object.entries(contenders).map(async ([name, peer]) => [name, await peer.allows(question)] as const),
    );
    const [first] = answers;
    if (answers.some(([, allows]) => allows !== first?.[1]))
      throw new Error(`the contenders disagree: ${JSON.stringify({ question, answers })}`);
    if (first?.[1]) allowed += 1;
  }
  if (
    allowed < asked.length / 5 ||
    allowed > (asked.length * 4) / 5 ||
    !(await contenders.opa.allows(typical))
  )
    throw new Error(`a scenario that allows ${allowed} of ${asked.length} questions tells little`);
  return { asked: asked.length, allowed };
}
