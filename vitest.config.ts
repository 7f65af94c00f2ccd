import { defineConfig } from 'vitest/config';

const common = {
  testTimeout: 60_000,
  hookTimeout: 60_000,
  pool: 'forks',
  // See policy/engine/webassembly.ts: threads that load TypeScript, by a module of Node's own, come and go here.
  execArgv: ['--wasm-wrapper-tiering-budget=2147483647'],
} as const;

/** They take long, and ask the transport nothing that others do not ask. */
const NOT_OF_THE_TRANSPORT = [
  'test/e2e/{folders,witnessing,untaken,shares,log-*,own-records,ml-dsa,editing}.test.ts',
  'test/e2e/{access,callers,compiling,jwt-callers,late-keys,mounted,protected-resource,tails}.test.ts',
  'test/e2e/{sealed,offload,registry}/**',
];

export default defineConfig({
  test: {
    maxWorkers: 2,
    reporters: process.env['CI']
      ? ['default', ['json', { outputFile: 'var/test-results.json' }]]
      : ['default'],
    projects: [
      { test: { ...common, name: 'all', include: ['test/**/*.test.ts'] } },
      // What speaks HTTP/2 can be changed for Node's own: then all that is asked from outside is answered alike.
      {
        test: {
          ...common,
          name: 'node-http2',
          include: ['test/e2e/**/*.test.ts'],
          exclude: NOT_OF_THE_TRANSPORT,
          env: { MANDATE_HTTP2: 'node' },
        },
      },
    ],
  },
});
