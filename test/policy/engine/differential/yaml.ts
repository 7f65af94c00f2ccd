import { type Draw, type Generator, ofList } from './draw.ts';

const yamlScalar: Generator<string> = ofList(
  'a¦b¦1¦1.0¦-0¦+5¦0x1F¦0b11¦0o17¦017¦08¦1_000¦1e3¦.5¦-.5¦.inf¦-.Inf¦.nan¦true¦True¦yes¦off¦null¦~' +
    '¦Null¦2020-01-02¦"a"¦\'b\'¦"1"¦"\\u00e9\\n"¦9223372036854775808¦18446744073709551616' +
    '¦-9223372036854775809¦1e400¦<<¦é¦🎉¦!!str 1¦!!int "3"¦!!int x¦!!float 3¦!!null ""¦!!bool true' +
    '¦!!binary YQ==¦!!binary x¦!foo bar¦! 5¦&x 1¦*x¦a b¦a#b¦a #b¦a:b¦http://x¦%d¦@a¦`a¦- a¦? a¦|¦>' +
    '¦{}¦[]¦[1, 2]¦{a: 1}¦{a, b: }¦[a: 1]¦¦0.1¦12:30¦1:30:00¦0x¦_1¦--1¦.¦..¦NaN',
);
const yamlKey: Generator<string> = ofList(
  'a¦b¦c¦1¦true¦"a"¦null¦~¦<<¦0.1¦&k d¦!!str d¦2020-01-01¦1.23456789',
);
const yamlBlock: Generator<string> = (draw) => yamlLines(draw, 2, '').join('\n');
function yamlLines(draw: Draw, depth: number, indent: string): string[] {
  const kind = draw.below(depth === 0 ? 1 : 4);
  if (kind === 0) return [`${indent}${yamlScalar(draw)}`];
  const length = 1 + draw.below(3);
  return Array.from({ length }, () => {
    const lines = yamlLines(draw, depth - 1, `${indent}  `);
    const isInline = lines.length === 1 && !/^\s*(?:- |\? )/.test(lines[0] ?? '');
    const lead = kind === 1 ? `${indent}-` : `${indent}${yamlKey(draw)}:`;
    return isInline ? [`${lead} ${lines[0]?.trimStart() ?? ''}`] : [lead, ...lines];
  }).flat();
}
/** Not any text at all: the parser here and libyaml do not refuse the same ones, one in thousands. */
export const yaml: Generator = (draw) =>
  draw.chance(20)
    ? draw.one([1, null, [], ''])
    : draw.chance(4)
      ? draw
          .list(
            5,
            ofList(
              "a: 1¦- b¦  c: 2¦---¦# x¦¦  - d¦e:¦x: &a [1]¦y: *a¦<<: {z: 1}¦'h': i¦k: |¦   text" +
                '¦l: >-¦ fold¦[1,¦]¦{',
            ),
          )
          .join('\n')
      : yamlBlock(draw);
