import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import os from 'node:os';
import tls from 'node:tls';
import { describe } from '../../errors.ts';
import type { Outgoing } from './backlog.ts';
import type { Format } from './formats.ts';
import type { SyslogTarget } from './settings.ts';
import { type Delivery, NotDelivered } from './sink.ts';

/** RFC 5424 section 6.2.1: log audit; informational, and a warning for what was not allowed. */
const FACILITY = 13;
const INFORMATIONAL = 6;
const WARNING = 4;
const CONNECT_MS = 10_000;
const DRAIN_MS = 30_000;
/** The enterprise number of examples (RFC 5612), for structured data of nobody's register. */
const SD_ID = 'mandate@32473';

/** Syslog over TLS (RFC 5425). The protocol has no receipts: what the receiver's system has taken counts as delivered. */
export class SyslogDelivery implements Delivery {
  readonly #target: SyslogTarget;
  readonly #format: Format;
  #socket: tls.TLSSocket | undefined;

  constructor(target: SyslogTarget, format: Format) {
    this.#target = target;
    this.#format = format;
  }

  async deliver(records: readonly Outgoing[], signal: AbortSignal): Promise<void> {
    const { host, port } = this.#target;
    try {
      const socket = await this.#connected(signal);
      const bytes = Buffer.concat(records.map((each) => framed(message(each, this.#format.line(each)))));
      const late = AbortSignal.any([AbortSignal.timeout(DRAIN_MS), signal]);
      await new Promise<void>((resolve, reject) => {
        late.addEventListener('abort', () => reject(new Error('it does not take any more')), { once: true });
        socket.write(bytes, (error) => (error ? reject(error) : resolve()));
      });
    } catch (cause) {
      this.#socket?.destroy();
      this.#socket = undefined;
      throw new NotDelivered(`${host}:${port}: ${describe(cause)}`, { cause });
    }
  }

  async #connected(signal: AbortSignal): Promise<tls.TLSSocket> {
    if (this.#socket && !this.#socket.destroyed && this.#socket.writable) return this.#socket;
    const { host, port, ca } = this.#target;
    const socket = tls.connect({
      host,
      port,
      // RFC 6066 section 3: an address is no name.
      ...(isIP(host) === 0 ? { servername: host } : {}),
      minVersion: 'TLSv1.2',
      ...(ca === undefined ? {} : { ca: readFileSync(ca) }),
    });
    this.#socket = socket;
    socket.on('error', () => socket.destroy());
    // Nothing is answered, and an end that is not heard would be written into.
    socket.on('end', () => socket.destroy()).resume();
    await once(socket, 'secureConnect', {
      signal: AbortSignal.any([AbortSignal.timeout(CONNECT_MS), signal]),
    });
    return socket;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket?.end();
  }
}

function message({ tenant, index, body }: Outgoing, text: string): string {
  const { time, kind, outcome } = JSON.parse(Buffer.from(body).toString('utf8')) as Record<string, string>;
  const severity = outcome === 'allow' || outcome === 'done' ? INFORMATIONAL : WARNING;
  const data = `[${SD_ID} tenant="${escaped(tenant)}" index="${index}" outcome="${escaped(outcome ?? '')}"]`;
  const head = `<${FACILITY * 8 + severity}>1 ${time} ${os.hostname() || '-'} mandate ${process.pid} ${kind}`;
  return `${head} ${data} \ufeff${text}`;
}

/** RFC 5424 section 6.3.3. */
const escaped = (value: string): string => value.replaceAll(/["\\\]]/g, '\\$&');

/** RFC 5425 section 4.3: its length first. */
function framed(text: string): Buffer {
  const bytes = Buffer.from(text);
  return Buffer.concat([Buffer.from(`${bytes.length} `), bytes]);
}
