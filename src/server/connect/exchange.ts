import { actorTokenIn, approvalAsked, type ExchangeAsked, useIn } from '../../delegation/asked.ts';
import {
  ACCESS_TOKEN_TYPE,
  ID_JAG_TYPE,
  issuedTokenTypes,
  type TokenType,
  tokenTypes,
} from '../../delegation/exchange.ts';
import { TASK_TYPE } from '../../delegation/tasks.ts';
import { TXN_TOKEN_TYPE } from '../../delegation/transactions/asked.ts';
import { ServiceError } from '../../errors.ts';
import type { ExchangeRequest } from '../../gen/mandate/v1/delegation_pb.ts';
import { principalClass } from '../../ids.ts';

/** Throws `unsupported_token_type`, `invalid_request` or `principal_class_unknown`. */
export function exchangeAsked(
  message: ExchangeRequest,
  { proof, certificate }: Pick<ExchangeAsked, 'proof' | 'certificate'>,
): ExchangeAsked {
  const { mayAct } = message;
  const subjectTokenType = oneOf('subject_token_type', message.subjectTokenType, [
    ...(Object.keys(tokenTypes) as TokenType[]),
    ID_JAG_TYPE,
  ]);
  return {
    subjectToken: message.forItself ? undefined : message.subjectToken,
    subjectTokenType,
    actorToken: actorTokenIn(message.actorToken || undefined, message.actorTokenType || undefined),
    ...wanted(message, subjectTokenType),
    scopes: message.scopes,
    use: useIn(message.use || undefined),
    details: message.authorizationDetails,
    mayAct: mayAct && { class: principalClass(mayAct.class), id: mayAct.id },
    lifetimeSeconds: message.lifetimeSeconds,
    proof,
    certificate,
    task: message.task && {
      purpose: message.task.purpose,
      lifetimeSeconds: message.task.lifetimeSeconds,
      budget: message.task.budget,
    },
    approval: approvalAsked(message.approval, message.requestApproval, message.approvalReason),
  };
}

type Wanted = Pick<ExchangeAsked, 'issuedTokenType' | 'audiences' | 'authority'>;

/** As the token endpoint reads it: an assertion is asked for with a token of the user's alone, and gives an access token. */
function wanted(message: ExchangeRequest, presented: ExchangeAsked['subjectTokenType']): Wanted {
  const isAssertion = presented === ID_JAG_TYPE;
  if (isAssertion && (message.forItself || message.actorToken !== ''))
    throw new ServiceError('invalid_request', 'with an assertion comes no other token');
  // What it says need not be said again.
  const first = isAssertion && message.audience === '' ? [] : [message.audience];
  const audiences = [...first, ...message.moreAudiences];
  const issuedTokenType = wantedType(message.requestedTokenType);
  if (issuedTokenType !== ID_JAG_TYPE) {
    if (message.resources.length > 0)
      throw new ServiceError(
        'invalid_request',
        'resources are those of another authority, with an assertion: name those of a server as audiences',
      );
    if (isAssertion && issuedTokenType === TASK_TYPE)
      throw new ServiceError(
        'unsupported_token_type',
        `with an assertion requested_token_type is one of ${issuedTokenTypes.join(', ')}`,
      );
    return { issuedTokenType, audiences, authority: undefined };
  }
  if (isAssertion || message.forItself)
    throw new ServiceError('unsupported_token_type', 'an assertion is asked for with a token of the user');
  const [authority = '', ...others] = audiences;
  if (authority === '' || others.length > 0 || message.resources.length === 0)
    throw new ServiceError(
      'invalid_request',
      'an assertion is for one audience, the issuer of an authority, and for resources of it',
    );
  return { issuedTokenType, audiences: message.resources, authority };
}

/** A transaction token has parameters of its own, which stand in no message. */
function wantedType(text: string): ExchangeAsked['issuedTokenType'] {
  if (text === TXN_TOKEN_TYPE)
    throw new ServiceError(
      'unsupported_token_type',
      'a transaction token is asked for at the token endpoint, /t/{tenant}/oauth2/token',
    );
  return oneOf('requested_token_type', text, [...issuedTokenTypes, TASK_TYPE, ID_JAG_TYPE]);
}

function oneOf<T extends string>(member: string, text: string, known: readonly T[]): T {
  const found = known.find((each) => each === (text || ACCESS_TOKEN_TYPE));
  if (!found) throw new ServiceError('unsupported_token_type', `${member} is one of ${known.join(', ')}`);
  return found;
}
