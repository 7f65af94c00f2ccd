import { describe, expect, test } from 'vitest';
import { parseManifest, readManifest } from '../../../src/tenancy/manifest.ts';

/** `audit.sealed` in tenant.yaml. */

const declaring =
  (...sealed: unknown[]) =>
  () =>
    parseManifest({ id: 'acme', audit: { sealed } }, 'tenant.yaml').audit.sealed;

const FREE = [
  '/context',
  '/context/patient',
  '/context/patient/name/0',
  '/context/a~1b/c~0d',
  '/context/__proto__',
  '/context/',
  '/data_input/user',
  '/subject/properties',
  '/subject/properties/phone',
  '/actors/0/properties/home',
  '/action/properties/why',
  '/resource/properties/notes',
  '/grant/authorization_details',
];

describe('a sealed member', () => {
  test.each(FREE)('may be %s, and is of the subject unless it is said', (path) => {
    expect(declaring({ path })()).toEqual([{ path, about: 'subject' }]);
  });

  test.each(['subject', 'actor', 'resource', '/context/patient_id', '/stated'])(
    'may be about %s',
    (about) => {
      expect(declaring({ path: '/context/notes', about })()).toEqual([{ path: '/context/notes', about }]);
    },
  );

  test.each([
    ['/subject', 'on whose behalf it is'],
    ['/subject/id', 'on whose behalf it is'],
    ['/subject/class', 'on whose behalf it is'],
    ['/subject/status', 'on whose behalf it is'],
    ['/subject/groups', 'on whose behalf it is'],
    ['/actors/0/roles', 'who acts'],
    ['/subject/propertiesx', 'on whose behalf it is'],
    ['/actors', 'who acts'],
    ['/actors/0', 'who acts'],
    ['/actors/x/properties', 'who acts'],
    ['/action', 'what is done'],
    ['/action/name', 'what is done'],
    ['/resource', 'what it is done to'],
    ['/resource/type', 'what it is done to'],
    ['/resource/id', 'what it is done to'],
    ['/now', 'when it was decided'],
    ['/tenant/id', 'whose record it is'],
    ['/grant', 'under which grant it is done'],
    ['/grant/id', 'under which grant it is done'],
    ['/target', 'whom it is about'],
    ['/stated/id', 'whom the request named'],
  ])('is not %s, as that says %s', (path, why) => {
    expect(declaring({ path })).toThrow(
      `tenant.yaml: audit.sealed.0.path: ${path} says ${why}, which every reader and index of the log needs; what can be sealed`,
    );
  });

  test.each(['/contxt/patient', '/constructor', '/__proto__'])('is not %s, which no input has', (path) => {
    expect(declaring({ path })).toThrow(
      `the input has no member ${path.split('/', 2).join('/')}; what can be`,
    );
    expect(declaring({ path: '/context/x', about: path })).toThrow('audit.sealed.0.about: subject, actor,');
  });

  test.each([
    '',
    'context',
    'context/patient',
    '/context/~2',
    '/context/~',
    `/context${'/a'.repeat(32)}`,
    `/context/${'a'.repeat(512)}`,
  ])('is not named by %j, which is no pointer of ours', (path) => {
    expect(declaring({ path })).toThrow('audit.sealed.0.path: a JSON Pointer into the input, such as');
  });

  test('stands in no other, and is told by nothing that stands in the open', () => {
    expect(declaring({ path: '/context' }, { path: '/context/patient' })).toThrow(
      'audit.sealed.1.path: /context/patient is sealed with /context already',
    );
    expect(declaring({ path: '/context/a' }, { path: '/context/a' })).toThrow('is sealed with /context/a');
    for (const about of ['/context/patient', '/context/patient/ref', '/context'])
      expect(declaring({ path: '/context/patient', about })).toThrow(
        `audit.sealed.0.about: ${about} is sealed itself, and the record would tell it`,
      );
    expect(declaring({ path: '/context/ab' }, { path: '/context/abc' })).not.toThrow();
  });

  test('is refused with a member that is not known, and beyond thirty-two', () => {
    expect(declaring({ path: '/context/a', key: 'x' })).toThrow('audit.sealed.0: Unrecognized key: "key"');
    const many = (count: number) => Array.from({ length: count }, (_, at) => ({ path: `/context/m${at}` }));
    expect(declaring(...many(32))).not.toThrow();
    expect(declaring(...many(33))).toThrow('audit.sealed: Too big');
    expect(() => parseManifest({ id: 'acme', audit: { seal: [] } }, 'tenant.yaml')).toThrow(
      'audit: Unrecognized key: "seal"',
    );
  });
});

test('none is sealed where nothing is said', () => {
  expect(readManifest('id: acme\n', 'tenant.yaml').audit).toEqual({ sealed: [] });
});
