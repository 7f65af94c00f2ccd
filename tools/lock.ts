/**
 * Completes package-lock.json with the platform packages of other machines. npm leaves them out when the registry it
 * asked does not carry them, and then refuses the lock file it wrote (`npm ci`: "Missing: … from lock file"). Run it
 * after `npm install`; it changes nothing when nothing is missing.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';

interface Entry {
  version?: string;
  dev?: boolean;
  optional?: boolean;
  os?: string[];
  cpu?: string[];
  libc?: string[];
  optionalDependencies?: Record<string, string>;
}

const file = path.resolve(import.meta.dirname, '..', 'package-lock.json');
const lock = JSON.parse(readFileSync(file, 'utf8')) as { packages: Record<string, Entry> };

const systems = ['android', 'darwin', 'freebsd', 'linux', 'win32', 'openharmony'];
const processors: Readonly<Record<string, string>> = {
  x64: 'x64',
  arm64: 'arm64',
  armv7: 'arm',
  arm: 'arm',
  ia32: 'ia32',
  ppc64: 'ppc64',
  riscv64: 'riscv64',
  s390x: 's390x',
};

let added = 0;
for (const [parent, entry] of Object.entries(lock.packages)) {
  for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
    const place = `node_modules/${name}`;
    const os = systems.find((each) => name.includes(each));
    const cpu =
      name.split('-').flatMap((part) => processors[part] ?? [])[0] ??
      (name.endsWith('64') ? 'x64' : undefined);
    if (parent === '' || lock.packages[place] || !os || !/^\d/.test(version)) continue;
    const libc = name.endsWith('-musl')
      ? { libc: ['musl'] }
      : name.endsWith('-gnu')
        ? { libc: ['glibc'] }
        : {};
    lock.packages[place] = {
      version,
      ...(cpu ? { cpu: [cpu] } : {}),
      ...(entry.dev ? { dev: true } : {}),
      ...libc,
      optional: true,
      os: [os],
    };
    added += 1;
  }
}
const [root, ...rest] = Object.keys(lock.packages);
const ordered = [root ?? '', ...rest.sort((one, other) => (one < other ? -1 : 1))];
lock.packages = Object.fromEntries(ordered.map((place) => [place, lock.packages[place] ?? {}]));
if (added > 0) writeFileSync(file, `${JSON.stringify(lock, null, 2)}\n`);
process.stdout.write(`package-lock.json: ${added} platform packages added\n`);
