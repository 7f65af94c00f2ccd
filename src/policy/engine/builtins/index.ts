import type { Builtin, BuiltinTable } from './builtin.ts';
import { cryptoBuiltins } from './crypto.ts';
import { encodingBuiltins } from './encoding.ts';
import { graphBuiltins } from './graph.ts';
import { jwtBuiltins } from './jwt.ts';
import { netBuiltins } from './net.ts';
import { numberBuiltins } from './numbers.ts';
import { patchBuiltins } from './patch.ts';
import { regexBuiltins } from './regex.ts';
import { semverBuiltins } from './semver.ts';
import { sprintfBuiltins } from './sprintf.ts';
import { castBuiltins, stringBuiltins } from './strings.ts';
import { timeBuiltins } from './time.ts';
import { uuidBuiltins } from './uuid.ts';
import { yamlBuiltins } from './yaml.ts';

const tables: readonly BuiltinTable[] = [
  castBuiltins,
  cryptoBuiltins,
  encodingBuiltins,
  graphBuiltins,
  jwtBuiltins,
  netBuiltins,
  numberBuiltins,
  patchBuiltins,
  regexBuiltins,
  semverBuiltins,
  sprintfBuiltins,
  stringBuiltins,
  timeBuiltins,
  uuidBuiltins,
  yamlBuiltins,
];

/** The built-ins that a module asks the host for, by name. */
export const hostBuiltins: ReadonlyMap<string, Builtin> = new Map(
  tables.flatMap((table) => Object.entries(table)),
);
