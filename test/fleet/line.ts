import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

/** A line between two servers that can be cut, held up and let go again. */
export class Line implements AsyncDisposable {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #isCut = false;
  #delayMs = 0;
  #port = 0;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async to(url: string): Promise<Line> {
    const server = createServer({ allowHalfOpen: true });
    const line = new Line(server);
    line.leadTo(url);
    server.on('connection', (near) => {
      if (line.#isCut) return void near.destroy();
      const far = connect(line.#port, '127.0.0.1');
      line.#join(near, far);
      line.#join(far, near);
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return line;
  }

  #join(from: Socket, to: Socket): void {
    this.#sockets.add(from);
    from.on('data', (chunk: Buffer) => {
      const pass = (): void => void (to.writable && to.write(chunk));
      if (this.#delayMs === 0) pass();
      else setTimeout(pass, this.#delayMs);
    });
    from.on('error', () => to.destroy());
    from.on('close', () => {
      this.#sockets.delete(from);
      to.destroy();
    });
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** New connections go there from now on. */
  leadTo(url: string): void {
    this.#port = Number(new URL(url).port);
  }

  /** What is on it is lost, and nobody gets through. */
  cut(): void {
    this.#isCut = true;
    for (const each of this.#sockets) each.destroy();
  }

  mend(): void {
    this.#isCut = false;
    this.#delayMs = 0;
  }

  /** Everything takes so long, either way. */
  delay(ms: number): void {
    this.#delayMs = ms;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cut();
    this.#server.close();
    await once(this.#server, 'close');
  }
}
