import { defineConfig } from 'vitest/config';

const common = {
  // Of what hangs, not of what is slow: a machine may have others to serve.
  testTimeout: 180_000,
  hookTimeout: 180_000,
  pool: 'forks',
  // Node takes the types away itself, as it does where this is served: nothing is transformed before.
  experimental: { viteModuleRunner: false, nodeLoader: false },
  // See policy/engine/webassembly.ts: threads that load TypeScript, by a module of Node's own, come and go here.
  execArgv: ['--wasm-wrapper-tiering-budget=2147483647'],
} as const;

/** Those that speak HTTP/2 and ask the transport something. Whoever comes by HTTP/1.1 meets the same server in both. */
const OF_THE_TRANSPORT = [
  'test/e2e/{bad-input,batches,compression,drain,forms,grpc,health,hosts,log}.test.ts',
  'test/e2e/{protocols,socket,strangers,tls,unread,unsound}.test.ts',
  'test/e2e/envoy/envoy.test.ts',
];

/** Those that ask whoever accepts the connections something. */
const OF_WHO_ACCEPTS = [
  'test/e2e/{drain,forms,grpc,hosts,late-bodies,protocols,strangers,tls,unread}.test.ts',
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
          include: OF_THE_TRANSPORT,
          env: { MANDATE_HTTP2: 'node' },
        },
      },
      // And threads can accept the connections in main's place.
      { test: { ...common, name: 'accepting', include: OF_WHO_ACCEPTS, env: { ACCEPT_THREADS: '2' } } },
    ],
  },
});
