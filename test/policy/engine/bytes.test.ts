import { expect, test } from 'vitest';
import { evaluateAll, evaluateWithOpa } from './opa.ts';

/** OPA's strings are bytes. Two secrets that are no text must not be equal because neither can be shown. */
const expressions = [
  'base64.decode("/w==") == base64.decode("/g==")',
  'base64.decode("/w==") == hex.decode("ff")',
  'base64.decode("/w==") == "\\ufffd"',
  'base64.encode(base64.decode("/wA+gA=="))',
  'base64url.encode(hex.decode("fffe41c3a9"))',
  'hex.encode(urlquery.decode("%ff%c3%a9a"))',
  'urlquery.encode(hex.decode("ff61c3a9f0"))',
  'crypto.sha256(hex.decode("ff"))',
  'crypto.hmac.sha256(hex.decode("ff"), hex.decode("80"))',
  'crypto.hmac.equal(hex.decode("ff"), hex.decode("fe"))',
  'count({hex.decode("ff"), hex.decode("fe"), hex.decode("ff")})',
  'count(hex.decode("ff80c3a9"))',
  '{hex.decode("ff"): 1}[hex.decode("ff")]',
  'hex.encode(concat("", [hex.decode("c3"), hex.decode("a9")]))',
  'concat("", [hex.decode("c3"), hex.decode("a9")]) == "é"',
  'hex.encode(replace(hex.decode("ff41ff"), hex.decode("ff"), "x"))',
  'hex.encode(concat("", sort([hex.decode("ff"), hex.decode("80"), "é", "🎉", "a"])))',
  'hex.encode(concat("", {hex.decode("ff"), hex.decode("80"), "é", "🎉", "a"}))',
  'startswith(hex.decode("ff41"), hex.decode("ff"))',
  'contains(hex.decode("41ff"), hex.decode("fe"))',
  'json.marshal(hex.decode("ff41"))',
  'sprintf("%x", [hex.decode("ff41")])',
  'hex.encode(split(hex.decode("412cff"), ",")[1])',
  'hex.decode("fffe")',
];

test('what is decoded need be no UTF-8, and is told apart by its bytes', async () => {
  const ours = await evaluateAll(Object.fromEntries(expressions.map((each) => [each, each])));
  expect(ours).toEqual(await evaluateWithOpa(expressions, {}));
});
