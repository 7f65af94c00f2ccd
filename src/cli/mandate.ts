#!/usr/bin/env node
import { run } from './program.ts';
import { endWithReader } from './terminal/output.ts';

endWithReader();
await run(process.argv.slice(2));
