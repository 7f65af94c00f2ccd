import { type MessagePort, parentPort } from 'node:worker_threads';
import { readManifest } from '../manifest.ts';
import { ManifestInvalid } from '../manifest-invalid.ts';
import { canonicalAnswer } from './canonical.ts';
import { composeDocuments } from './data.ts';
import type { Answer, Question } from './parser.ts';
import { readTable, TableInvalid } from './table.ts';

/** The thread that reads large manifests and data documents: it may take its time, and be ended. */
function serve(port: MessagePort): void {
  port.on('message', (question: Question) => port.postMessage(answerTo(question)));
}

function answerTo(question: Question): Answer {
  if ('documents' in question)
    return { composed: composeDocuments(question.documents, question.platform, question.asked) };
  if ('canonical' in question) return { line: 0, ...canonicalAnswer(question.canonical, question.without) };
  try {
    if ('table' in question) return { tests: readTable(question.table) };
    return { manifest: readManifest(question.manifest, question.file) };
  } catch (error) {
    if (error instanceof ManifestInvalid) return { problem: error.problem, line: error.line };
    if (error instanceof TableInvalid) return { problem: error.message, line: error.line };
    throw error;
  }
}

if (parentPort) serve(parentPort);
