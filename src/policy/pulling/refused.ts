import { BUNDLE, type PolicyInvalid, policyInvalid } from '../diagnostics.ts';

/** Why a bundle as a whole is not taken. */
export const notTaken = (message: string): PolicyInvalid =>
  policyInvalid([{ file: BUNDLE, line: 0, message }]);
