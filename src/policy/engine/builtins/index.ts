import type { Builtin, BuiltinTable } from './builtin.ts';
import { cryptoBuiltins } from './crypto.ts';
import { encodingBuiltins } from './data/encoding.ts';
import { jwtBuiltins } from './data/jwt.ts';
import { patchBuiltins } from './data/patch.ts';
import { yamlBuiltins } from './data/yaml.ts';
import { graphBuiltins } from './graph.ts';
import { netBuiltins } from './net/net.ts';
import { numberBuiltins } from './numbers/numbers.ts';
import { uuidBuiltins } from './numbers/uuid.ts';
import { regexBuiltins } from './text/regex.ts';
import { semverBuiltins } from './text/semver.ts';
import { sprintfBuiltins } from './text/sprintf.ts';
import { castBuiltins, stringBuiltins } from './text/strings.ts';
import { timeBuiltins } from './time/time.ts';

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
