import { createConnection, createServer, type AddressInfo, type Server, type Socket } from 'node:net';

/** A TCP connection in between, that a test can cut and heal. */
export class Cable {
  readonly #sockets = new Set<Socket>();
  #isCut = false;

  private constructor(
    readonly url: string,
    private readonly server: Server,
  ) {}

  static async lay(target: string): Promise<Cable> {
    const { hostname, port } = new URL(target);
    const server = createServer((near) => cable.#join(near, createConnection(Number(port), hostname)));
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    const cable = new Cable(`nats://127.0.0.1:${(server.address() as AddressInfo).port}`, server);
    return cable;
  }

  /** Whoever is connected is cut off, and whoever tries. */
  cut(): void {
    this.#isCut = true;
    for (const socket of this.#sockets) socket.destroy();
  }

  heal(): void {
    this.#isCut = false;
  }

  async close(): Promise<void> {
    this.cut();
    await new Promise((done) => this.server.close(done));
  }

  #join(near: Socket, far: Socket): void {
    const end = (): void => {
      near.destroy();
      far.destroy();
    };
    for (const socket of [near, far]) {
      this.#sockets.add(socket);
      socket.on('error', end);
      socket.on('close', () => {
        this.#sockets.delete(socket);
        end();
      });
    }
    if (this.#isCut) return end();
    near.pipe(far).pipe(near);
  }
}
