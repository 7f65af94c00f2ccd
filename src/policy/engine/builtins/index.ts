import type { Builtin, BuiltinTable } from './builtin.ts';
import { arrayBuiltins } from './collections/arrays.ts';
import { objectBuiltins } from './collections/objects.ts';
import { setBuiltins } from './collections/sets.ts';
import { valueBuiltins } from './collections/values.ts';
import { cryptoBuiltins } from './crypto.ts';
import { base64Builtins } from './data/base64.ts';
import { documentBuiltins } from './data/documents.ts';
import { encodingBuiltins } from './data/encoding.ts';
import { jwtBuiltins } from './data/jwt.ts';
import { patchBuiltins } from './data/patch.ts';
import { globBuiltins } from './glob/glob.ts';
import { globsBuiltins } from './glob/intersection.ts';
import { graphBuiltins } from './graph.ts';
import { graphqlBuiltins } from './graphql/graphql.ts';
import { awsBuiltins } from './net/aws.ts';
import { netBuiltins } from './net/net.ts';
import { uriBuiltins } from './net/uri.ts';
import { aggregateBuiltins } from './numbers/aggregates.ts';
import { arithmeticBuiltins } from './numbers/arithmetic.ts';
import { bitsBuiltins } from './numbers/bits.ts';
import { literalBuiltins } from './numbers/literals.ts';
import { numberBuiltins } from './numbers/numbers.ts';
import { uuidBuiltins } from './numbers/uuid.ts';
import { regexBuiltins } from './regex/regex.ts';
import { schemaBuiltins } from './schema/schema.ts';
import { signingBuiltins } from './signing/encode.ts';
import { verifyingBuiltins } from './signing/verify.ts';
import { templateBuiltins } from './templates/templates.ts';
import { basicTextBuiltins } from './text/basics.ts';
import { replacingBuiltins } from './text/replacing.ts';
import { semverBuiltins } from './text/semver.ts';
import { sprintfBuiltins } from './text/sprintf.ts';
import { castBuiltins, stringBuiltins } from './text/strings.ts';
import { traceBuiltins } from './text/trace.ts';
import { trimmingBuiltins } from './text/trimming.ts';
import { timeBuiltins } from './time/time.ts';
import { x509Builtins } from './x509/x509.ts';
import { yamlBuiltins } from './yaml/yaml.ts';

const tables: readonly BuiltinTable[] = [
  aggregateBuiltins,
  arithmeticBuiltins,
  arrayBuiltins,
  awsBuiltins,
  base64Builtins,
  basicTextBuiltins,
  bitsBuiltins,
  castBuiltins,
  cryptoBuiltins,
  documentBuiltins,
  encodingBuiltins,
  globBuiltins,
  globsBuiltins,
  graphBuiltins,
  graphqlBuiltins,
  jwtBuiltins,
  literalBuiltins,
  netBuiltins,
  numberBuiltins,
  objectBuiltins,
  patchBuiltins,
  regexBuiltins,
  replacingBuiltins,
  schemaBuiltins,
  semverBuiltins,
  setBuiltins,
  signingBuiltins,
  sprintfBuiltins,
  stringBuiltins,
  templateBuiltins,
  timeBuiltins,
  traceBuiltins,
  trimmingBuiltins,
  uriBuiltins,
  uuidBuiltins,
  valueBuiltins,
  verifyingBuiltins,
  x509Builtins,
  yamlBuiltins,
];

/** The built-ins that a module asks the host for, by name. */
export const hostBuiltins: ReadonlyMap<string, Builtin> = new Map(
  tables.flatMap((table) => Object.entries(table)),
);
