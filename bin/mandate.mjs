#!/usr/bin/env node
// Runs on any Node and starts the command on one it is made for: this one, or that of the `node` package beside it.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import module, { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

// A checkout runs its sources, a package what was built from them.
const source = fileURLToPath(new URL('../src/cli/mandate.ts', import.meta.url));
const entry = existsSync(source) ? source : fileURLToPath(new URL('../dist/src/cli/mandate.js', import.meta.url));
const NEEDED = 24;

// Compiled code is kept beside the package, never in a folder that others write to: it halves the start and the memory.
const cache = fileURLToPath(new URL('../.cache/compile', import.meta.url));

if (Number(process.versions.node.split('.')[0]) >= NEEDED) {
  module.enableCompileCache?.(cache);
  await import(entry);
} else {
  let node;
  try {
    node = createRequire(import.meta.url).resolve('node/bin/node');
  } catch {
    process.stderr.write(`mandate: needs Node ${NEEDED} or newer, this is ${process.version}; install with optional dependencies, or upgrade Node\n`);
    process.exit(2);
  }
  const child = spawn(node, [entry, ...process.argv.slice(2)], {
    stdio: 'inherit',
    env: { NODE_COMPILE_CACHE: cache, ...process.env },
  });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  child.on('exit', (code, signal) => {
    if (signal) process.kill(process.pid, signal);
    else process.exit(code ?? 2);
  });
}
