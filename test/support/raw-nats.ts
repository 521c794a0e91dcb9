import { connect, type Socket } from 'node:net';
import { until } from './until.js';

/** A publisher that writes the protocol itself: for what the client would refuse to send. */
export class RawNats {
  #said = '';
  #inbox = 0;

  private constructor(private readonly socket: Socket) {
    socket.setEncoding('utf8').on('data', (text: string) => {
      this.#said += text;
    });
    socket.on('error', () => undefined);
  }

  static async connect(url: string): Promise<RawNats> {
    const { hostname, port } = new URL(url);
    const socket = connect(Number(port), hostname);
    const raw = new RawNats(socket);
    socket.write(
      'CONNECT {"verbose":false,"headers":true,"no_responders":true}\r\nSUB raw.inbox.* 1\r\nPING\r\n',
    );
    await until('a PONG', () => raw.#said.includes('PONG'));
    return raw;
  }

  /** Publishes; resolves with the place in the stream. @param headers the block as it is, without `NATS/1.0` and the last empty line. */
  async publish(subject: string | Buffer, payload: Buffer, headers?: string | Buffer): Promise<number> {
    const reply = `raw.inbox.${++this.#inbox}`;
    const name = typeof subject === 'string' ? Buffer.from(subject) : subject;
    const block =
      headers === undefined
        ? Buffer.alloc(0)
        : Buffer.concat([Buffer.from('NATS/1.0\r\n'), Buffer.from(headers), Buffer.from('\r\n\r\n')]);
    const total = block.length + payload.length;
    const verb = headers === undefined ? 'PUB ' : 'HPUB ';
    const sizes = headers === undefined ? ` ${reply} ${total}\r\n` : ` ${reply} ${block.length} ${total}\r\n`;
    this.socket.write(
      Buffer.concat([Buffer.from(verb), name, Buffer.from(sizes), block, payload, Buffer.from('\r\n')]),
    );
    const ack = await until(
      () => `an acknowledgement; the server said ${this.#said.slice(-300)}`,
      () => new RegExp(`MSG ${reply} 1 \\d+\\r\\n(\\{.*\\})\\r\\n`).exec(this.#said)?.[1],
      { every: 2, timeout: 5000 },
    );
    const { seq, error } = JSON.parse(ack) as { seq?: number; error?: { description: string } };
    if (seq === undefined) throw new Error(`not stored: ${error?.description}`);
    return seq;
  }

  close(): void {
    this.socket.destroy();
  }
}
