import { connect, createServer, type Server, type Socket } from 'node:net';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startStandalone, type Standalone } from '#standalone';
import { readSettings } from '#wire';

/** A scheduler with a nats-server of its own, all in memory, on free ports. */
export async function startScheduler(settings: Readonly<Record<string, string>> = {}): Promise<Standalone> {
  const directory = await mkdtemp(join(tmpdir(), 'vf-client-'));
  const standalone = await startStandalone(
    readSettings({
      VF_DATA_DIR: directory,
      VF_EVENT_LOG: 'memory:',
      VF_NATS_PORT: '0',
      VF_HTTP_PORT: '0',
      VF_LOG_LEVEL: 'fatal',
      ...settings,
    }),
  );
  return {
    ...standalone,
    stop: async () => {
      await standalone.stop();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

/** A way to a server that can be cut. */
export class Cable {
  readonly #sockets = new Set<Socket>();
  /** Bytes that the server may still send before the connection is cut. */
  #budget = Number.POSITIVE_INFINITY;
  cuts = 0;

  private constructor(
    private readonly server: Server,
    readonly url: string,
  ) {}

  static async to(target: string): Promise<Cable> {
    const { hostname, port } = new URL(target);
    const server = createServer();
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    const cable = new Cable(server, `nats://127.0.0.1:${(server.address() as { port: number }).port}`);
    server.on('connection', (near) => {
      const far = connect(Number(port), hostname);
      for (const socket of [near, far]) {
        cable.#sockets.add(socket);
        socket.on('error', () => undefined);
        socket.on('close', () => {
          cable.#sockets.delete(socket);
          near.destroy();
          far.destroy();
        });
      }
      near.on('data', (data) => far.write(data));
      far.on('data', (data) => {
        cable.#budget -= data.length;
        if (cable.#budget < 0) cable.cut();
        else near.write(data);
      });
    });
    return cable;
  }

  /** Cuts it now; a new connection is let through. */
  cut(): void {
    this.cuts++;
    this.#budget = Number.POSITIVE_INFINITY;
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Cuts it when the server has sent so many bytes more. */
  cutAfter(bytes: number): void {
    this.#budget = bytes;
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((done) => this.server.close(done));
  }
}

/** The PF of {@link hostWith}. */
export const PF = '0000:82:00.0';

/** A host with one port, `em1`, that is split into `vfs` VFs. */
export const hostWith = (hostId: string, vfs: number, seq = 1) =>
  ({
    hostId,
    bootId: 'boot-1',
    seq,
    iommu: { enabled: true, ready: true },
    interruptRemapping: true,
    pfs: [
      {
        pciAddress: PF,
        ifname: 'em1',
        model: 'Dell 82599ES',
        link: 'up',
        speedMbps: 10_000,
        totalVfs: 63,
        vfs: Array.from({ length: vfs }, (_, index) => ({
          pciAddress: `0000:82:${(0x10 + (index >> 2)).toString(16)}.${(index & 3) * 2}`,
          index,
        })),
      },
    ],
  }) as const;
