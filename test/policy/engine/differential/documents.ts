import { RegoObject, type Value } from '../../../../src/policy/engine/values/values.ts';
import { type Draw, type Generator, listOf, number, scalar, text } from './draw.ts';

/** Schemas, templates, GraphQL and addresses, each of pieces that make mostly sound ones. */

const some = (draw: Draw, of: string): string => draw.one(listOf(of));

const keyword = (draw: Draw, depth: number): readonly [string, Value] => {
  const inner = (): Value => schema(draw, depth - 1);
  const name = () => some(draw, 'a¦b¦ab¦x.y');
  return draw.one<() => readonly [string, Value]>([
    () => [
      'type',
      draw.chance(6)
        ? draw.list(2, (each) => some(each, 'string¦number¦integer¦object¦array¦null¦boolean'))
        : some(draw, 'string¦number¦integer¦object¦array¦null¦boolean¦x'),
    ],
    () => ['properties', new RegoObject(draw.list(2, () => [name(), inner()] as const))],
    () => ['required', draw.list(2, () => name())],
    () => ['additionalProperties', draw.chance(2) ? draw.chance(2) : inner()],
    () => ['patternProperties', new RegoObject([[some(draw, '^a¦b$¦(¦.'), inner()]])],
    () => ['items', draw.chance(2) ? inner() : draw.list(2, inner)],
    () => ['additionalItems', draw.chance(2) ? draw.chance(2) : inner()],
    () => [
      some(draw, 'minimum¦maximum¦exclusiveMinimum¦exclusiveMaximum¦multipleOf'),
      draw.chance(8) ? scalar(draw) : number(draw),
    ],
    () => [
      some(draw, 'minLength¦maxLength¦minItems¦maxItems¦minProperties¦maxProperties'),
      draw.chance(8) ? scalar(draw) : draw.below(4),
    ],
    () => ['pattern', some(draw, '^a+$¦b¦(¦é¦^[^a]*$')],
    () => [
      'format',
      some(
        draw,
        'date¦time¦date-time¦hostname¦email¦ipv4¦ipv6¦uri¦uri-reference¦uri-template¦uuid¦regex¦json-pointer¦relative-json-pointer¦x',
      ),
    ],
    () => ['enum', draw.list(3, scalar)],
    () => ['const', scalar(draw)],
    () => [some(draw, 'oneOf¦anyOf¦allOf'), draw.list(2, inner)],
    () => [some(draw, 'not¦if¦then¦else¦contains¦propertyNames'), inner()],
    () => ['dependencies', new RegoObject([[name(), draw.chance(2) ? draw.list(2, () => name()) : inner()]])],
    () => ['uniqueItems', draw.chance(2)],
    () => ['$ref', some(draw, '#/definitions/d¦#/x')],
    () => ['$schema', `http://json-schema.org/draft-0${draw.one([4, 6, 7])}/schema#`],
  ])();
};

/** Without references: OPA follows one that leads to itself until its stack ends. */
const leaf = (draw: Draw): Value =>
  draw.one([true, false, new RegoObject([['type', 'string']]), new RegoObject([['minimum', 1]])]);

export function schema(draw: Draw, depth = 2): Value {
  if (depth <= 0 || draw.chance(8))
    return draw.one([true, false, new RegoObject(), new RegoObject([['type', 'string']])]);
  const keywords = draw.list(3, (each) => keyword(each, depth));
  const definitions = draw.chance(4) ? [['definitions', new RegoObject([['d', leaf(draw)]])] as const] : [];
  return new RegoObject([...keywords, ...definitions]);
}

const plain =
  'abc¦aab¦é¦a@b.c¦A <a@b.c>¦"x y"@b¦2020-02-30¦2020-02-29¦12:30:00Z¦2020-01-01T00:00:00+01:00¦1.2.3.4¦::1¦http://a/b¦/a/~0¦0/a¦0#¦a-b.c¦-a¦00000000-0000-0000-0000-00000000000A¦(¦{a}¦{a';

/** What a schema is held against: text is JSON there, so that a text of one is in quotes. */
export const instance: Generator = (draw) => {
  if (draw.chance(3)) return JSON.stringify(some(draw, plain));
  return draw.chance(3) ? some(draw, '1¦1.5¦-3¦null¦true¦[]¦{}¦x¦"aa"') : tree(draw, 3);
};

function tree(draw: Draw, depth: number): Value {
  const inner = (): Value => (depth === 0 || draw.chance(2) ? scalar(draw) : tree(draw, depth - 1));
  return draw.chance(2)
    ? draw.list(4, inner)
    : new RegoObject(draw.list(4, () => [some(draw, 'a¦b¦ab¦x.y'), inner()] as const));
}

const action =
  '.¦.a¦.m.k¦.x.y¦.l¦$¦$.a¦$x¦1¦1.5¦"q"¦`r`¦true¦nil¦(.m).k¦index .l 1¦index .m "k"¦len .l¦len .s¦print .a 1 2¦printf "%v-%s" .s .a¦printf "%d|%5s|%t|%T" .a .f true .f¦printf "%s|%q|%05v|%x" 1 .a nil .a¦printf "%6.2f|%-5t|%T %T|%+v" 1.5 false 1 .a .x¦printf "%d" 1 .x .f 2¦html .s' +
  '¦.s | js¦eq .a 1¦eq .s "s"¦lt 1 2¦and .a .f¦or .f .s¦not .f¦slice .s 1¦urlquery .s¦/* c */¦- 1¦.s -¦break¦continue¦nope¦.a.b.c¦(¦)';
const opening =
  'if .a¦if .f¦with .m¦with .x¦range .l¦range $i, $e := .m¦range 3¦range .s¦define "T"¦block "B" .m';

export const template: Generator<string> = (draw) => templatePart(draw, 3);

function templatePart(draw: Draw, depth: number): string {
  return draw
    .list(4, (each) => {
      if (each.chance(3)) return some(each, ' ¦a¦<b>¦\n¦é¦}}¦{');
      if (depth > 0 && each.chance(3)) {
        const otherwise = each.chance(3) ? `{{else}}${templatePart(each, depth - 1)}` : '';
        return `{{${some(each, opening)}}}${templatePart(each, depth - 1)}${otherwise}${each.chance(20) ? '' : '{{end}}'}`;
      }
      return each.chance(8)
        ? some(each, '{{template "T" .}}¦{{$x := .a}}¦{{$x = 2}}¦{{- ¦{{$x := 1}}{{$x}}')
        : `{{${some(each, action)}}}`;
    })
    .join('');
}

export const templateData: Generator = (draw) =>
  new RegoObject([
    ['a', number(draw)],
    ['s', text(draw)],
    ['f', draw.one([false, null, '', 0])],
    ['l', draw.list(3, scalar)],
    [
      'm',
      new RegoObject([
        ['k', scalar(draw)],
        ['n', null],
      ]),
    ],
  ]);

const definitions =
  'type Query { a: Int b(x: Int!, y: [String!] = ["z"]): [B!]! u: U i: I e: E }¦type B implements I { id: ID! b: B n(in: In): String }¦interface I { id: ID! }' +
  '¦type C implements I { id: ID! c: Float }¦union U = B | C¦enum E { X Y @deprecated }¦input In { a: Int! b: [In!] c: E = X }¦type Mutation { m(in: In!): Boolean }';
const oddDefinitions =
  'scalar D¦extend type Query { z: Int }¦directive @d(a: Int = 1) repeatable on FIELD | QUERY¦schema { query: Query }¦type Subscription { s: Int t: Int }¦# c¦"d" type T { a: Int }' +
  '¦type Q¦type B { x: Int }¦extend enum E { Z }¦input O @oneOf { a: Int b: Int }¦union V = Nope¦type __X { a: Int }¦}¦interface J implements I { id: ID! }';
const fields =
  'a¦x: a¦b(x: 1) { id }¦b(x: $v) { id }¦u { ... on B { id } }¦u { __typename }¦i { id ... on C { c } }¦...F¦e¦z¦a @skip(if: true)¦a @d¦b(x: "s") { id }¦b(x: 1, y: ["a"]) { n(in: {a: 1}) }¦b { id }' +
  '¦b(x: 1)¦a { q }¦__schema { types { name } }¦c: e¦... { a }¦... on Query { a }¦{';

export const graphqlSchema: Generator<string> = (draw) =>
  [
    ...listOf(definitions).filter(() => !draw.chance(25)),
    ...(draw.chance(2) ? draw.list(2, (each) => some(each, oddDefinitions)) : []),
  ].join('\n');

export const graphqlQuery: Generator<string> = (draw) => {
  const selection = (): string =>
    `{ ${Array.from({ length: 1 + draw.below(3) }, () => some(draw, fields)).join(' ')} }`;
  const head = some(
    draw,
    '¦¦query¦query Q¦query Q($v: Int!)¦query ($v: Int = 1)¦query ($v: [Int])¦mutation¦"d" query Q¦query Q @d',
  );
  const more = draw.chance(3) ? ` fragment F on ${some(draw, 'Query¦B¦E¦Nope')} ${selection()}` : '';
  return draw.chance(15) ? text(draw) : `${head} ${selection()}${more}`;
};

export const url: Generator<string> = (draw) =>
  draw.chance(10)
    ? text(draw)
    : some(draw, '¦http://¦HTTPS://¦//¦ftp://¦mailto:¦a:¦:¦/¦///') +
      some(draw, '¦u@¦u:p@¦u%zz@¦@') +
      some(draw, 'h¦h:80¦h:¦h:x¦a:1:2¦[::1]¦[::1%25e]:8¦[1.2.3.4]¦é¦a%20b¦a%c3%a9¦*¦h h') +
      some(draw, '¦/¦/a/b¦/a%2fb¦/%zz¦/é x¦/a:b¦/[]') +
      some(draw, '¦?¦?q=1¦?a?b¦?é') +
      some(draw, '¦#¦#f¦#%20¦#%z');

export const globExpression: Generator<string> = (draw) =>
  draw.list(6, (each) => some(each, 'a¦b¦.¦.*¦a*¦a+¦[a-c]¦[a-c]+¦[b]¦[^a]¦\\+¦é¦*¦[¦b*')).join('');

export const awsRequest: Generator = (draw) =>
  new RegoObject([
    ['method', draw.chance(10) ? 1 : some(draw, 'get¦POST')],
    ['url', url(draw)],
    ...(draw.chance(2)
      ? [['headers', new RegoObject([[some(draw, 'X-A¦user-agent¦host'), scalar(draw)]])] as const]
      : []),
    ...(draw.chance(2) ? [[some(draw, 'body¦raw_body¦x'), tree(draw, 1)] as const] : []),
  ]);
export const awsConfig: Generator = (draw) =>
  new RegoObject([
    ['aws_service', some(draw, 's3¦ec2')],
    ['aws_access_key', 'k'],
    ['aws_secret_access_key', text(draw)],
    ...(draw.chance(10) ? [] : [['aws_region', 'r'] as const]),
    ...(draw.chance(3) ? [['aws_session_token', text(draw)] as const] : []),
    ...(draw.chance(4) ? [['disable_payload_signing', draw.one([true, false, 1])] as const] : []),
  ]);
